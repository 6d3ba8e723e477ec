import { anything, flag, integer, list, mapOf, nullable, object, oneOf, text } from './schema.js';

/** Present in every answer; a text that is not empty is a failure even with status 200. */
const failure = { Err: text('what went wrong; empty for success'), ErrKind: text('the kind of the error, for engines that know it') };
const done = object({}, failure);
const strings = mapOf(text());

export const activation = object({ Implements: list(text(), 'VolumeDriver, NetworkDriver, IpamDriver, GraphDriver, LogDriver, authz') });

const volume = object(
  { Name: text() },
  {
    Mountpoint: text('where it is on the host while it is mounted'),
    CreatedAt: text('RFC 3339'),
    Status: mapOf(anything(), 'whatever inspect shall show'),
  },
);
const named = object({ Name: text() });
const volumeUse = object({ Name: text(), ID: text('one use: the same one is given to Unmount') });

export const volumeMessages = {
  'VolumeDriver.Create': { request: object({ Name: text(), Opts: nullable(strings) }), response: done },
  'VolumeDriver.Remove': { request: named, response: done },
  'VolumeDriver.Mount': { request: volumeUse, response: object({}, { ...failure, Mountpoint: text() }) },
  'VolumeDriver.Unmount': { request: volumeUse, response: done },
  'VolumeDriver.Path': { request: named, response: object({}, { ...failure, Mountpoint: text() }) },
  'VolumeDriver.Get': { request: named, response: object({}, { ...failure, Volume: volume }) },
  'VolumeDriver.List': { request: object({}), response: object({}, { ...failure, Volumes: list(volume) }) },
  'VolumeDriver.Capabilities': {
    request: object({}),
    response: object({}, { ...failure, Capabilities: object({}, { Scope: text('local or global') }) }),
  },
} as const;

const addressing = object({}, { AddressSpace: text(), Pool: text('CIDR'), Gateway: text('CIDR'), AuxAddresses: strings });
const families = { IPv4Data: nullable(list(addressing)), IPv6Data: nullable(list(addressing)) };
const options = nullable(mapOf(anything()));
const network = { NetworkID: text() };
const endpoint = { ...network, EndpointID: text() };
const endpointInterface = object({}, { Address: text('CIDR'), AddressIPv6: text('CIDR'), MacAddress: text() });

const publishedPort = object({}, { Proto: integer('6 tcp, 17 udp, 132 sctp'), Port: integer(), HostIP: text(), HostPort: integer() });

export const networkMessages = {
  'NetworkDriver.GetCapabilities': {
    request: undefined,
    response: object({ Scope: oneOf('local', 'global') }, { ...failure, ConnectivityScope: text(), GwAllocChecker: flag() }),
  },
  'NetworkDriver.CreateNetwork': { request: object({ ...network, Options: options, ...families }), response: done },
  'NetworkDriver.DeleteNetwork': { request: object(network), response: done },
  'NetworkDriver.CreateEndpoint': {
    request: object({ ...endpoint, Interface: nullable(endpointInterface), Options: options }),
    response: object({}, { ...failure, Interface: endpointInterface }),
  },
  'NetworkDriver.DeleteEndpoint': { request: object(endpoint), response: done },
  'NetworkDriver.EndpointOperInfo': { request: object(endpoint), response: object({}, { ...failure, Value: mapOf(anything()) }) },
  'NetworkDriver.Join': {
    request: object({ ...endpoint, SandboxKey: text('network namespace file'), Options: options }),
    response: object(
      {},
      {
        ...failure,
        InterfaceName: object(
          {},
          {
            SrcName: text('link to move into the sandbox'),
            DstPrefix: text('its new name, without a number'),
            InSandbox: flag("the link is in the sandbox already; beyond Docker's protocol"),
          },
        ),
        Gateway: text(),
        GatewayIPv6: text(),
        StaticRoutes: list(object({}, { Destination: text('CIDR'), RouteType: integer('0 next hop, 1 on link'), NextHop: text() })),
        DisableGatewayService: flag(),
      },
    ),
  },
  'NetworkDriver.Leave': { request: object(endpoint), response: done },
  'NetworkDriver.ProgramExternalConnectivity': {
    request: object({ ...endpoint, Options: options }),
    response: object({}, { ...failure, Ports: list(publishedPort, "what was published; beyond Docker's protocol") }),
  },
  'NetworkDriver.RevokeExternalConnectivity': { request: object(endpoint), response: done },
} as const;

/** In the answers of address managers a failure has another name. */
const ipamFailure = { ...failure, Error: text('what went wrong; empty for success') };

export const ipamMessages = {
  'IpamDriver.GetCapabilities': {
    request: undefined,
    response: object({}, { ...ipamFailure, RequiresMACAddress: flag(), RequiresRequestReplay: flag() }),
  },
  'IpamDriver.GetDefaultAddressSpaces': {
    request: undefined,
    response: object({}, { ...ipamFailure, LocalDefaultAddressSpace: text(), GlobalDefaultAddressSpace: text() }),
  },
  'IpamDriver.RequestPool': {
    request: object({ AddressSpace: text(), Pool: text(), SubPool: text(), Options: nullable(strings), V6: flag() }),
    response: object({}, { ...ipamFailure, PoolID: text(), Pool: text('CIDR'), Data: strings }),
  },
  'IpamDriver.ReleasePool': { request: object({ PoolID: text() }), response: object({}, ipamFailure) },
  'IpamDriver.RequestAddress': {
    request: object({ PoolID: text(), Address: text(), Options: nullable(strings) }),
    response: object({}, { ...ipamFailure, Address: text('CIDR'), Data: strings }),
  },
  'IpamDriver.ReleaseAddress': { request: object({ PoolID: text(), Address: text() }), response: object({}, ipamFailure) },
} as const;

const layer = object({ ID: text() }, { Parent: text(), MountLabel: text(), StorageOpt: strings });
const idMap = list(object({ container_id: integer(), host_id: integer(), size: integer() }));

export const graphMessages = {
  'GraphDriver.Init': {
    request: object({ Home: text(), Opts: nullable(list(text())) }, { UIDMaps: idMap, GIDMaps: idMap }),
    response: done,
  },
  'GraphDriver.Capabilities': {
    request: undefined,
    response: object({}, { ...failure, Capabilities: object({}, { ReproducesExactDiffs: flag() }) }),
  },
  'GraphDriver.Create': { request: layer, response: done },
  'GraphDriver.CreateReadWrite': { request: layer, response: done },
  'GraphDriver.Remove': { request: layer, response: done },
  'GraphDriver.Get': { request: layer, response: object({}, { ...failure, Dir: text('the mounted root') }) },
  'GraphDriver.Put': { request: layer, response: done },
  'GraphDriver.Exists': { request: layer, response: object({}, { ...failure, Exists: flag() }) },
  'GraphDriver.Status': { request: undefined, response: object({}, { ...failure, Status: list(list(text())) }) },
  'GraphDriver.GetMetadata': { request: layer, response: object({}, { ...failure, Metadata: strings }) },
  'GraphDriver.Cleanup': { request: undefined, response: done },
  'GraphDriver.Diff': { request: layer, response: 'stream' },
  'GraphDriver.ApplyDiff': { request: 'stream', response: object({}, { ...failure, Size: integer() }) },
  'GraphDriver.Changes': {
    request: layer,
    response: object({}, { ...failure, Changes: list(object({}, { Path: text(), Kind: integer('0 modified, 1 added, 2 deleted') })) }),
  },
  'GraphDriver.DiffSize': { request: layer, response: object({}, { ...failure, Size: integer() }) },
} as const;

const nullableStrings = nullable(list(text()));
export const logInfo = object(
  { ContainerID: text() },
  {
    Config: strings,
    ContainerName: text('with a leading slash'),
    ContainerEntrypoint: text(),
    ContainerArgs: nullableStrings,
    ContainerImageID: text(),
    ContainerImageName: text(),
    ContainerCreated: text('RFC 3339'),
    ContainerEnv: nullableStrings,
    ContainerLabels: strings,
    LogPath: text(),
    DaemonName: text(),
  },
);

export const logMessages = {
  'LogDriver.Capabilities': { request: undefined, response: object({}, { ...failure, Cap: object({}, { ReadLogs: flag() }) }) },
  'LogDriver.StartLogging': { request: object({ File: text('a FIFO of framed entries'), Info: logInfo }), response: done },
  'LogDriver.StopLogging': { request: object({ File: text() }), response: done },
  'LogDriver.ReadLogs': {
    request: object({
      Info: logInfo,
      Config: object({ Since: text('RFC 3339'), Until: text('RFC 3339'), Tail: integer('-1 for all'), Follow: flag() }),
    }),
    response: 'stream',
  },
} as const;

const asked = object(
  {},
  {
    User: text(),
    UserAuthNMethod: text(),
    RequestMethod: text(),
    RequestUri: text(),
    RequestBody: text('base64'),
    RequestHeaders: strings,
    RequestPeerCertificates: list(text('base64 of PEM')),
    ResponseStatusCode: integer(),
    ResponseBody: text('base64'),
    ResponseHeaders: strings,
  },
);
/** `Allow` is not optional: whoever leaves it out has not decided. */
const decision = object({ Allow: flag() }, { Msg: text(), Err: text() });

export const accessMessages = {
  'AuthZPlugin.AuthZReq': { request: asked, response: decision },
  'AuthZPlugin.AuthZRes': { request: asked, response: decision },
} as const;

export const metricsMessages = {
  'MetricsCollector.StartMetrics': { request: undefined, response: done },
  'MetricsCollector.StopMetrics': { request: undefined, response: done },
} as const;

export const messages = {
  'Plugin.Activate': { request: undefined, response: activation },
  ...volumeMessages,
  ...networkMessages,
  ...ipamMessages,
  ...graphMessages,
  ...logMessages,
  ...accessMessages,
  ...metricsMessages,
} as const;
