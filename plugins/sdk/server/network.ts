import type { Infer } from '../protocol/schema.js';
import type { RequestOf } from '../protocol/methods.js';
import { networkMessages } from '../protocol/messages.js';
import type { Maybe, Part } from './handlers.js';
import { portsFrom, type PortBinding, type PublishedPort, wirePublished } from './ports.js';

export interface Addressing {
  /** CIDR. */
  readonly pool: string;
  /** With prefix length. */
  readonly gateway?: string;
  readonly auxAddresses: Readonly<Record<string, string>>;
}

export interface NetworkConfig {
  /** The user's `-o` pairs. */
  readonly options: Readonly<Record<string, string>>;
  readonly internal: boolean;
  readonly ipv4: readonly Addressing[];
  readonly ipv6: readonly Addressing[];
}

export interface EndpointInterface {
  /** With prefix length. */
  readonly address?: string;
  readonly addressV6?: string;
  readonly mac?: string;
}

export interface Joined {
  /** A link in the host's namespace, which the engine moves, names `dstPrefix` and a number, and brings up. */
  readonly link?: { readonly srcName: string; readonly dstPrefix: string; readonly inSandbox?: boolean };
  readonly gateway?: string;
  readonly gatewayV6?: string;
  /** Without `nextHop` the destination is on the link. */
  readonly routes: readonly { readonly destination: string; readonly nextHop?: string }[];
  /** The sandbox needs no default route; without it and without `gateway`, Docker's engine adds a bridge of its own. */
  readonly disableGateway?: boolean;
}

/**
 * What the author of a network plugin writes. An engine does not give networks and endpoints again after a restart: a plugin keeps
 * them. Removing what is absent succeeds.
 */
export interface NetworkPlugin {
  readonly scope?: 'local' | 'global';
  createNetwork(networkId: string, config: NetworkConfig): Maybe<void>;
  deleteNetwork(networkId: string): Maybe<void>;
  /** Gives back what was chosen beyond what was given: a MAC address, mostly. */
  createEndpoint(
    networkId: string,
    endpointId: string,
    iface: EndpointInterface,
    options: Readonly<Record<string, string>>,
    ports: readonly PortBinding[],
  ): Maybe<EndpointInterface>;
  deleteEndpoint(networkId: string, endpointId: string): Maybe<void>;
  join(networkId: string, endpointId: string, sandboxPath: string): Maybe<Joined>;
  leave(networkId: string, endpointId: string): Maybe<void>;
  publish?(networkId: string, endpointId: string, ports: readonly PortBinding[]): Maybe<readonly PublishedPort[]>;
  unpublish?(networkId: string, endpointId: string): Maybe<void>;
}

const GENERIC = 'com.docker.network.generic';
const INTERNAL = 'com.docker.network.internal';
const MAC = 'com.docker.network.endpoint.macaddress';
const ownOptions = /^com\.docker\.network\.(portmap|endpoint\.exposedports|endpoint\.macaddress)$/;

type WireAddressing = NonNullable<RequestOf<'NetworkDriver.CreateNetwork'>['IPv4Data']>;
type WireJoin = Infer<(typeof networkMessages)['NetworkDriver.Join']['response']>;

const addressing = (data: WireAddressing | null): Addressing[] =>
  (data ?? []).map(({ Pool, Gateway, AuxAddresses }) => ({
    pool: Pool ?? '',
    ...(Gateway && { gateway: Gateway }),
    auxAddresses: AuxAddresses ?? {},
  }));

/** Options of one endpoint as texts; what the engine adds for its own purposes is read elsewhere. */
const texts = (options: Record<string, unknown> | null): Record<string, string> =>
  Object.fromEntries(
    Object.entries(options ?? {}).flatMap(([key, value]) => (ownOptions.test(key) || typeof value !== 'string' ? [] : [[key, value]])),
  );

/** Docker's engine sends the six bytes in base64. */
function macFrom(options: Record<string, unknown> | null): string | undefined {
  const value = options?.[MAC];
  if (typeof value !== 'string') return undefined;
  const bytes = Buffer.from(value, 'base64');
  return bytes.length === 6 ? [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join(':') : undefined;
}

function wireJoin(joined: Joined): WireJoin {
  const { link, gateway, gatewayV6, routes, disableGateway } = joined;
  return {
    InterfaceName: link ? { SrcName: link.srcName, DstPrefix: link.dstPrefix, ...(link.inSandbox && { InSandbox: true }) } : {},
    Gateway: gateway ?? '',
    GatewayIPv6: gatewayV6 ?? '',
    StaticRoutes: routes.map(({ destination, nextHop }) => ({
      Destination: destination,
      RouteType: nextHop === undefined ? 1 : 0,
      NextHop: nextHop ?? '',
    })),
    DisableGatewayService: disableGateway ?? false,
  };
}

export function networkPart(plugin: NetworkPlugin): Part {
  const scope = plugin.scope ?? 'local';
  return {
    kind: 'NetworkDriver',
    json: {
      'NetworkDriver.GetCapabilities': async () => ({ Scope: scope, ConnectivityScope: scope }),
      'NetworkDriver.CreateNetwork': async ({ NetworkID, Options, IPv4Data, IPv6Data }) => {
        const generic = (Options?.[GENERIC] ?? {}) as Record<string, unknown>;
        await plugin.createNetwork(NetworkID, {
          options: texts(generic),
          internal: Options?.[INTERNAL] === true,
          ipv4: addressing(IPv4Data),
          ipv6: addressing(IPv6Data),
        });
        return {};
      },
      'NetworkDriver.DeleteNetwork': async ({ NetworkID }) => {
        await plugin.deleteNetwork(NetworkID);
        return {};
      },
      'NetworkDriver.CreateEndpoint': async ({ NetworkID, EndpointID, Interface, Options }) => {
        const given = {
          ...(Interface?.Address && { address: Interface.Address }),
          ...(Interface?.AddressIPv6 && { addressV6: Interface.AddressIPv6 }),
          ...((Interface?.MacAddress || macFrom(Options)) && { mac: Interface?.MacAddress || macFrom(Options) || '' }),
        };
        const made = await plugin.createEndpoint(NetworkID, EndpointID, given, texts(Options), portsFrom(Options));
        // Engines refuse an answer that repeats what they gave.
        const chosen = {
          ...(made.address && !Interface?.Address && { Address: made.address }),
          ...(made.addressV6 && !Interface?.AddressIPv6 && { AddressIPv6: made.addressV6 }),
          ...(made.mac && !Interface?.MacAddress && { MacAddress: made.mac }),
        };
        return Object.keys(chosen).length > 0 ? { Interface: chosen } : {};
      },
      'NetworkDriver.DeleteEndpoint': async ({ NetworkID, EndpointID }) => {
        await plugin.deleteEndpoint(NetworkID, EndpointID);
        return {};
      },
      'NetworkDriver.EndpointOperInfo': async () => ({ Value: {} }),
      'NetworkDriver.Join': async ({ NetworkID, EndpointID, SandboxKey }) => wireJoin(await plugin.join(NetworkID, EndpointID, SandboxKey)),
      'NetworkDriver.Leave': async ({ NetworkID, EndpointID }) => {
        await plugin.leave(NetworkID, EndpointID);
        return {};
      },
      'NetworkDriver.ProgramExternalConnectivity': async ({ NetworkID, EndpointID, Options }) => {
        const published = (await plugin.publish?.(NetworkID, EndpointID, portsFrom(Options))) ?? [];
        return published.length > 0 ? { Ports: wirePublished(published) } : {};
      },
      'NetworkDriver.RevokeExternalConnectivity': async ({ NetworkID, EndpointID }) => {
        await plugin.unpublish?.(NetworkID, EndpointID);
        return {};
      },
    },
  };
}
