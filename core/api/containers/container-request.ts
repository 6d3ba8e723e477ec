import type {
  ContainerConfig,
  EndpointRequest,
  Healthcheck,
  HostConfig,
  MountRequest,
  Resources,
  RestartPolicy,
} from '../../container/container.js';
import type { CreateContainer } from '../../container/containers.js';
import { invalid } from '../../contracts/errors.js';
import type {
  ConfigJson,
  CreateBody,
  EndpointJson,
  HealthcheckJson,
  HostConfigJson,
  MountJson,
  ResourcesJson,
  RestartPolicyJson,
  UpdateBody,
} from './schema.js';

/** A null value in a map of texts is an empty text, as Go reads it. */
export const textMapOf = (given: Record<string, string | null> | null | undefined): Record<string, string> =>
  Object.fromEntries(Object.entries(given ?? {}).map(([key, value]) => [key, value ?? '']));

/** null: the image's; a text: one word. */
const wordsOf = (given: string[] | string | null | undefined): readonly string[] | undefined =>
  typeof given === 'string' ? [given] : (given ?? undefined);

function healthcheckOf(given: HealthcheckJson | null | undefined): Healthcheck | undefined {
  if (!given) return undefined;
  return {
    test: given.Test ?? [],
    interval: given.Interval ?? 0,
    timeout: given.Timeout ?? 0,
    startPeriod: given.StartPeriod ?? 0,
    startInterval: given.StartInterval ?? 0,
    retries: given.Retries ?? 0,
  };
}

export function configOf(given: ConfigJson): ContainerConfig {
  return {
    image: given.Image ?? '',
    hostname: given.Hostname ?? '',
    domainname: given.Domainname ?? '',
    user: given.User ?? '',
    attachStdin: given.AttachStdin ?? false,
    attachStdout: given.AttachStdout ?? false,
    attachStderr: given.AttachStderr ?? false,
    exposedPorts: Object.keys(given.ExposedPorts ?? {}).map(portKey),
    tty: given.Tty ?? false,
    openStdin: given.OpenStdin ?? false,
    stdinOnce: given.StdinOnce ?? false,
    env: given.Env ?? [],
    cmd: wordsOf(given.Cmd),
    entrypoint: wordsOf(given.Entrypoint),
    healthcheck: healthcheckOf(given.Healthcheck),
    volumes: Object.keys(given.Volumes ?? {}),
    workingDir: given.WorkingDir ?? '',
    networkDisabled: given.NetworkDisabled ?? false,
    macAddress: given.MacAddress ?? '',
    onBuild: given.OnBuild ?? [],
    labels: textMapOf(given.Labels),
    stopSignal: given.StopSignal ?? '',
    stopTimeout: given.StopTimeout ?? undefined,
    shell: given.Shell ?? undefined,
  };
}

/** The overrides of a commit: what was left out stays the container's. */
export function configOverrides(given: ConfigJson): Partial<ContainerConfig> {
  const whole = configOf(given);
  const overrides: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(whole)) {
    const empty =
      value === undefined ||
      value === '' ||
      value === false ||
      (typeof value === 'object' && value !== null && Object.keys(value).length === 0);
    if (!empty) overrides[key] = value;
  }
  return overrides as Partial<ContainerConfig>;
}

/** `80` is `80/tcp`. */
const portKey = (given: string): string => (given.includes('/') ? given.toLowerCase() : `${given}/tcp`);

const rates = (given: ResourcesJson['BlkioDeviceReadBps']): { path: string; rate: number }[] =>
  (given ?? []).map(({ Path, Rate }) => ({ path: Path ?? '', rate: Rate ?? 0 }));

export function resourcesOf(given: ResourcesJson): Resources {
  return {
    cpuShares: given.CpuShares ?? 0,
    nanoCpus: given.NanoCpus ?? 0,
    cpuPeriod: given.CpuPeriod ?? 0,
    cpuQuota: given.CpuQuota ?? 0,
    cpuRealtimePeriod: given.CpuRealtimePeriod ?? 0,
    cpuRealtimeRuntime: given.CpuRealtimeRuntime ?? 0,
    cpusetCpus: given.CpusetCpus ?? '',
    cpusetMems: given.CpusetMems ?? '',
    memory: given.Memory ?? 0,
    memoryReservation: given.MemoryReservation ?? 0,
    memorySwap: given.MemorySwap ?? 0,
    memorySwappiness: given.MemorySwappiness ?? undefined,
    oomKillDisable: given.OomKillDisable ?? undefined,
    pidsLimit: given.PidsLimit ?? undefined,
    cgroupParent: given.CgroupParent ?? '',
    blkioWeight: given.BlkioWeight ?? 0,
    blkioWeightDevice: (given.BlkioWeightDevice ?? []).map(({ Path, Weight }) => ({ path: Path ?? '', weight: Weight ?? 0 })),
    blkioDeviceReadBps: rates(given.BlkioDeviceReadBps),
    blkioDeviceWriteBps: rates(given.BlkioDeviceWriteBps),
    blkioDeviceReadIops: rates(given.BlkioDeviceReadIOps),
    blkioDeviceWriteIops: rates(given.BlkioDeviceWriteIOps),
    devices: (given.Devices ?? []).map((device) => ({
      pathOnHost: device.PathOnHost ?? '',
      pathInContainer: device.PathInContainer ?? '',
      cgroupPermissions: device.CgroupPermissions ?? '',
    })),
    deviceCgroupRules: given.DeviceCgroupRules ?? [],
    deviceRequests: (given.DeviceRequests ?? []).map((request) => ({
      driver: request.Driver ?? '',
      count: request.Count ?? 0,
      deviceIds: request.DeviceIDs ?? [],
      capabilities: request.Capabilities ?? [],
      options: textMapOf(request.Options),
    })),
    ulimits: (given.Ulimits ?? []).map(({ Name, Soft, Hard }) => ({ name: Name ?? '', soft: Soft ?? 0, hard: Hard ?? 0 })),
  };
}

/** Zero says something for these: Docker has pointers there. */
const POINTERS = new Set(['memorySwappiness', 'oomKillDisable', 'pidsLimit']);

/** The limits of an update: what is left out or zero stays as it is. */
export function resourceChange(given: UpdateBody): Partial<Resources> {
  const change: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(resourcesOf(given))) {
    const unchanged =
      value === undefined || (value === 0 && !POINTERS.has(key)) || value === '' || (Array.isArray(value) && value.length === 0);
    // No limit has one form here, of the several that clients use.
    if (!unchanged) change[key] = key === 'pidsLimit' ? Math.max(0, Number(value)) : value;
  }
  return change as Partial<Resources>;
}

const POLICIES = ['', 'no', 'always', 'unless-stopped', 'on-failure'] as const;

export function restartPolicyOf(given: RestartPolicyJson | null | undefined): RestartPolicy {
  const name = POLICIES.find((policy) => policy === (given?.Name ?? ''));
  if (name === undefined) {
    throw invalid(
      `invalid restart policy: unknown policy '${given?.Name ?? ''}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'`,
    );
  }
  const maximumRetryCount = given?.MaximumRetryCount ?? 0;
  if (maximumRetryCount < 0) throw invalid('invalid restart policy: maximum retry count cannot be negative');
  if (maximumRetryCount > 0 && name !== 'on-failure') {
    throw invalid("invalid restart policy: maximum retry count can only be used with 'on-failure'");
  }
  return { name, maximumRetryCount };
}

export function mountOf(given: MountJson, version: number): MountRequest {
  const type = (given.Type ?? '').toLowerCase();
  if (type !== 'bind' && type !== 'volume' && type !== 'tmpfs' && type !== 'image') {
    throw invalid(`invalid mount config for type "${type}": mount type unknown`);
  }
  if (type === 'image' && version < 48) throw invalid('invalid mount config: type "image" requires API v1.48 or newer');
  const { BindOptions: bind, VolumeOptions: volume, TmpfsOptions: tmpfs, ImageOptions: image } = given;
  const readOnly = given.ReadOnly ?? false;
  return {
    type,
    source: given.Source ?? '',
    target: given.Target ?? '',
    readOnly,
    ...(given.Consistency ? { consistency: given.Consistency } : {}),
    ...(bind || (type === 'bind' && readOnly && version < 44)
      ? {
          bind: {
            propagation: bind?.Propagation ?? '',
            nonRecursive: version >= 40 && (bind?.NonRecursive ?? false),
            createMountpoint: bind?.CreateMountpoint ?? false,
            // Read-only did not reach into submounts before 1.44.
            readOnlyNonRecursive: version < 44 ? readOnly : (bind?.ReadOnlyNonRecursive ?? false),
            readOnlyForceRecursive: version >= 44 && (bind?.ReadOnlyForceRecursive ?? false),
          },
        }
      : {}),
    ...(volume
      ? {
          volume: {
            noCopy: volume.NoCopy ?? false,
            labels: textMapOf(volume.Labels),
            driver: volume.DriverConfig?.Name ?? '',
            driverOptions: textMapOf(volume.DriverConfig?.Options),
            subpath: version >= 45 ? (volume.Subpath ?? '') : '',
          },
        }
      : {}),
    ...(tmpfs ? { tmpfs: { sizeBytes: tmpfs.SizeBytes ?? 0, mode: tmpfs.Mode ?? 0, options: tmpfs.Options ?? [] } } : {}),
    ...(image ? { image: { subpath: image.Subpath ?? '' } } : {}),
  };
}

export function hostConfigOf(given: HostConfigJson, version: number): HostConfig {
  const size = given.ConsoleSize ?? [];
  const policy = restartPolicyOf(given.RestartPolicy);
  if (given.AutoRemove && policy.name !== '' && policy.name !== 'no')
    throw invalid("can't create 'AutoRemove' container with restart policy");
  if (given.Isolation && given.Isolation !== 'default')
    throw invalid(`invalid isolation ${JSON.stringify(given.Isolation)}: only "default" is supported`);
  const resources = resourcesOf(given);
  return {
    ...resources,
    // What some clients send for "not set".
    memorySwappiness: resources.memorySwappiness === -1 ? undefined : resources.memorySwappiness,
    pidsLimit: resources.pidsLimit !== undefined && resources.pidsLimit > 0 ? resources.pidsLimit : undefined,
    binds: given.Binds ?? [],
    mounts: (given.Mounts ?? []).map((mount) => mountOf(mount, version)),
    tmpfs: textMapOf(given.Tmpfs),
    volumesFrom: given.VolumesFrom ?? [],
    volumeDriver: given.VolumeDriver ?? '',
    containerIdFile: given.ContainerIDFile ?? '',
    logDriver: given.LogConfig?.Type ?? '',
    logOptions: textMapOf(given.LogConfig?.Config),
    networkMode: given.NetworkMode ?? '',
    portBindings: portBindingsOf(given.PortBindings),
    publishAllPorts: given.PublishAllPorts ?? false,
    restartPolicy: policy,
    autoRemove: given.AutoRemove ?? false,
    consoleSize: version >= 42 ? [size[0] ?? 0, size[1] ?? 0] : [0, 0],
    annotations: version >= 43 ? textMapOf(given.Annotations) : {},
    capAdd: given.CapAdd ?? [],
    capDrop: given.CapDrop ?? [],
    privileged: given.Privileged ?? false,
    readonlyRootfs: given.ReadonlyRootfs ?? false,
    securityOpt: given.SecurityOpt ?? [],
    maskedPaths: given.MaskedPaths ?? undefined,
    readonlyPaths: given.ReadonlyPaths ?? undefined,
    groupAdd: given.GroupAdd ?? [],
    cgroupnsMode: version >= 41 ? (given.CgroupnsMode ?? '') : '',
    // Others could join before 1.40 unless told not to.
    ipcMode: (given.IpcMode ?? '') === '' && version < 40 ? 'shareable' : (given.IpcMode ?? ''),
    pidMode: given.PidMode ?? '',
    utsMode: given.UTSMode ?? '',
    usernsMode: given.UsernsMode ?? '',
    oomScoreAdj: given.OomScoreAdj ?? 0,
    shmSize: given.ShmSize ?? 0,
    sysctls: textMapOf(given.Sysctls),
    runtime: given.Runtime ?? '',
    init: given.Init ?? undefined,
    dns: given.Dns ?? [],
    dnsOptions: given.DnsOptions ?? [],
    dnsSearch: given.DnsSearch ?? [],
    extraHosts: given.ExtraHosts ?? [],
    links: given.Links ?? [],
    storageOptions: textMapOf(given.StorageOpt),
  };
}

/** A port with no binding, an empty list or null wants one on a port that the engine chooses. */
export function portBindingsOf(given: HostConfigJson['PortBindings']): HostConfig['portBindings'] {
  return Object.fromEntries(
    Object.entries(given ?? {}).map(([port, bindings]) => [
      portKey(port),
      (bindings && bindings.length > 0 ? bindings : [{}]).map(({ HostIp, HostPort }) => ({
        hostIp: HostIp ?? '',
        hostPort: HostPort ?? '',
      })),
    ]),
  );
}

/** Here a port with no binding means all of them. */
export function portsToRemove(given: HostConfigJson['PortBindings']): HostConfig['portBindings'] {
  return Object.fromEntries(
    Object.entries(given ?? {}).map(([port, bindings]) => [
      portKey(port),
      (bindings ?? []).map(({ HostIp, HostPort }) => ({ hostIp: HostIp ?? '', hostPort: HostPort ?? '' })),
    ]),
  );
}

export function endpointOf(given: EndpointJson | null | undefined): EndpointRequest {
  return {
    ipv4Address: given?.IPAMConfig?.IPv4Address ?? '',
    ipv6Address: given?.IPAMConfig?.IPv6Address ?? '',
    linkLocalIps: given?.IPAMConfig?.LinkLocalIPs ?? [],
    aliases: given?.Aliases ?? [],
    links: given?.Links ?? [],
    macAddress: given?.MacAddress ?? '',
    driverOptions: textMapOf(given?.DriverOpts),
    gatewayPriority: given?.GwPriority ?? 0,
  };
}

const NAME = /^\/?[a-zA-Z0-9][a-zA-Z0-9_.-]+$/;

/** The whole request of POST /containers/create, with the rules of the client's version. */
export function createRequest(
  body: CreateBody,
  query: { name: string; platform: string; storageDriver: string },
  version: number,
): CreateContainer {
  if (query.name !== '' && !NAME.test(query.name)) {
    throw invalid(`Invalid container name (${query.name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed`);
  }
  const given = body.NetworkingConfig?.EndpointsConfig ?? {};
  const names = Object.keys(given);
  if (version < 44 && names.length > 1) throw invalid(`Container cannot be connected to network endpoints: ${names.join(', ')}`);
  return {
    name: query.name.replace(/^\//, ''),
    platform: query.platform,
    config: configOf(body),
    hostConfig: hostConfigOf(body.HostConfig ?? {}, version),
    endpoints: Object.fromEntries(names.map((name) => [name, endpointOf(given[name])])),
    storageDriver: query.storageDriver,
  };
}
