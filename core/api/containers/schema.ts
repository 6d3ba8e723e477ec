import { bool, integer, list, map, number, object, required, set, text, textMap, texts, textsOrText, type Schema } from '../json-schema.js';

type Maybe<T> = T | null | undefined;
type TextMap = Record<string, string | null>;
type Set = Record<string, object | null>;

export interface HealthcheckJson {
  Test?: Maybe<string[]>;
  Interval?: Maybe<number>;
  Timeout?: Maybe<number>;
  Retries?: Maybe<number>;
  StartPeriod?: Maybe<number>;
  StartInterval?: Maybe<number>;
}

/** Docker's `Config`. */
export interface ConfigJson {
  Hostname?: Maybe<string>;
  Domainname?: Maybe<string>;
  User?: Maybe<string>;
  AttachStdin?: Maybe<boolean>;
  AttachStdout?: Maybe<boolean>;
  AttachStderr?: Maybe<boolean>;
  ExposedPorts?: Maybe<Set>;
  Tty?: Maybe<boolean>;
  OpenStdin?: Maybe<boolean>;
  StdinOnce?: Maybe<boolean>;
  Env?: Maybe<string[]>;
  Cmd?: Maybe<string[] | string>;
  Healthcheck?: Maybe<HealthcheckJson>;
  Image?: Maybe<string>;
  Volumes?: Maybe<Set>;
  WorkingDir?: Maybe<string>;
  Entrypoint?: Maybe<string[] | string>;
  NetworkDisabled?: Maybe<boolean>;
  MacAddress?: Maybe<string>;
  OnBuild?: Maybe<string[]>;
  Labels?: Maybe<TextMap>;
  StopSignal?: Maybe<string>;
  StopTimeout?: Maybe<number>;
  Shell?: Maybe<string[]>;
}

export interface MountJson {
  Type?: Maybe<string>;
  Source?: Maybe<string>;
  Target?: Maybe<string>;
  ReadOnly?: Maybe<boolean>;
  Consistency?: Maybe<string>;
  BindOptions?: Maybe<{
    Propagation?: Maybe<string>;
    NonRecursive?: Maybe<boolean>;
    CreateMountpoint?: Maybe<boolean>;
    ReadOnlyNonRecursive?: Maybe<boolean>;
    ReadOnlyForceRecursive?: Maybe<boolean>;
  }>;
  VolumeOptions?: Maybe<{
    NoCopy?: Maybe<boolean>;
    Labels?: Maybe<TextMap>;
    DriverConfig?: Maybe<{ Name?: Maybe<string>; Options?: Maybe<TextMap> }>;
    Subpath?: Maybe<string>;
  }>;
  ImageOptions?: Maybe<{ Subpath?: Maybe<string> }>;
  TmpfsOptions?: Maybe<{ SizeBytes?: Maybe<number>; Mode?: Maybe<number>; Options?: Maybe<string[][]> }>;
}

export interface ResourcesJson {
  CpuShares?: Maybe<number>;
  Memory?: Maybe<number>;
  NanoCpus?: Maybe<number>;
  CgroupParent?: Maybe<string>;
  BlkioWeight?: Maybe<number>;
  BlkioWeightDevice?: Maybe<{ Path?: Maybe<string>; Weight?: Maybe<number> }[]>;
  BlkioDeviceReadBps?: Maybe<{ Path?: Maybe<string>; Rate?: Maybe<number> }[]>;
  BlkioDeviceWriteBps?: Maybe<{ Path?: Maybe<string>; Rate?: Maybe<number> }[]>;
  BlkioDeviceReadIOps?: Maybe<{ Path?: Maybe<string>; Rate?: Maybe<number> }[]>;
  BlkioDeviceWriteIOps?: Maybe<{ Path?: Maybe<string>; Rate?: Maybe<number> }[]>;
  CpuPeriod?: Maybe<number>;
  CpuQuota?: Maybe<number>;
  CpuRealtimePeriod?: Maybe<number>;
  CpuRealtimeRuntime?: Maybe<number>;
  CpusetCpus?: Maybe<string>;
  CpusetMems?: Maybe<string>;
  Devices?: Maybe<{ PathOnHost?: Maybe<string>; PathInContainer?: Maybe<string>; CgroupPermissions?: Maybe<string> }[]>;
  DeviceCgroupRules?: Maybe<string[]>;
  DeviceRequests?: Maybe<
    {
      Driver?: Maybe<string>;
      Count?: Maybe<number>;
      DeviceIDs?: Maybe<string[]>;
      Capabilities?: Maybe<string[][]>;
      Options?: Maybe<TextMap>;
    }[]
  >;
  MemoryReservation?: Maybe<number>;
  MemorySwap?: Maybe<number>;
  MemorySwappiness?: Maybe<number>;
  OomKillDisable?: Maybe<boolean>;
  PidsLimit?: Maybe<number>;
  Ulimits?: Maybe<{ Name?: Maybe<string>; Soft?: Maybe<number>; Hard?: Maybe<number> }[]>;
}

export interface RestartPolicyJson {
  Name?: Maybe<string>;
  MaximumRetryCount?: Maybe<number>;
}

/** `80/tcp` to the places on the host. */
export type PortMapJson = Record<string, { HostIp?: Maybe<string>; HostPort?: Maybe<string> }[] | null>;

export interface HostConfigJson extends ResourcesJson {
  Binds?: Maybe<string[]>;
  ContainerIDFile?: Maybe<string>;
  LogConfig?: Maybe<{ Type?: Maybe<string>; Config?: Maybe<TextMap> }>;
  NetworkMode?: Maybe<string>;
  PortBindings?: Maybe<PortMapJson>;
  RestartPolicy?: Maybe<RestartPolicyJson>;
  AutoRemove?: Maybe<boolean>;
  VolumeDriver?: Maybe<string>;
  VolumesFrom?: Maybe<string[]>;
  ConsoleSize?: Maybe<number[]>;
  Annotations?: Maybe<TextMap>;
  CapAdd?: Maybe<string[]>;
  CapDrop?: Maybe<string[]>;
  CgroupnsMode?: Maybe<string>;
  Dns?: Maybe<string[]>;
  DnsOptions?: Maybe<string[]>;
  DnsSearch?: Maybe<string[]>;
  ExtraHosts?: Maybe<string[]>;
  GroupAdd?: Maybe<string[]>;
  IpcMode?: Maybe<string>;
  Cgroup?: Maybe<string>;
  Links?: Maybe<string[]>;
  OomScoreAdj?: Maybe<number>;
  PidMode?: Maybe<string>;
  Privileged?: Maybe<boolean>;
  PublishAllPorts?: Maybe<boolean>;
  ReadonlyRootfs?: Maybe<boolean>;
  SecurityOpt?: Maybe<string[]>;
  StorageOpt?: Maybe<TextMap>;
  Tmpfs?: Maybe<TextMap>;
  UTSMode?: Maybe<string>;
  UsernsMode?: Maybe<string>;
  ShmSize?: Maybe<number>;
  Sysctls?: Maybe<TextMap>;
  Runtime?: Maybe<string>;
  Isolation?: Maybe<string>;
  Mounts?: Maybe<MountJson[]>;
  MaskedPaths?: Maybe<string[]>;
  ReadonlyPaths?: Maybe<string[]>;
  Init?: Maybe<boolean>;
}

export interface EndpointJson {
  IPAMConfig?: Maybe<{ IPv4Address?: Maybe<string>; IPv6Address?: Maybe<string>; LinkLocalIPs?: Maybe<string[]> }>;
  Links?: Maybe<string[]>;
  Aliases?: Maybe<string[]>;
  MacAddress?: Maybe<string>;
  DriverOpts?: Maybe<TextMap>;
  GwPriority?: Maybe<number>;
}

export interface CreateBody extends ConfigJson {
  HostConfig?: Maybe<HostConfigJson>;
  NetworkingConfig?: Maybe<{ EndpointsConfig?: Maybe<Record<string, EndpointJson | null>> }>;
}

export type UpdateBody = ResourcesJson & { RestartPolicy?: Maybe<RestartPolicyJson>; PortBindings?: Maybe<PortMapJson> };

export interface ChangePortsBody {
  Add?: Maybe<PortMapJson>;
  Remove?: Maybe<PortMapJson>;
}

const healthcheckProperties = {
  Test: texts,
  Interval: integer,
  Timeout: integer,
  Retries: integer,
  StartPeriod: integer,
  StartInterval: integer,
};

export const configProperties: Readonly<Record<string, Schema>> = {
  Hostname: text,
  Domainname: text,
  User: text,
  AttachStdin: bool,
  AttachStdout: bool,
  AttachStderr: bool,
  ExposedPorts: set,
  Tty: bool,
  OpenStdin: bool,
  StdinOnce: bool,
  Env: texts,
  Cmd: textsOrText,
  Healthcheck: object(healthcheckProperties),
  Image: text,
  Volumes: set,
  WorkingDir: text,
  Entrypoint: textsOrText,
  NetworkDisabled: bool,
  MacAddress: text,
  OnBuild: texts,
  Labels: textMap,
  StopSignal: text,
  StopTimeout: integer,
  Shell: texts,
};

const weights = list(object({ Path: text, Weight: integer }));
const rates = list(object({ Path: text, Rate: integer }));

const resourceProperties: Readonly<Record<string, Schema>> = {
  CpuShares: integer,
  Memory: integer,
  NanoCpus: integer,
  CgroupParent: text,
  BlkioWeight: integer,
  BlkioWeightDevice: weights,
  BlkioDeviceReadBps: rates,
  BlkioDeviceWriteBps: rates,
  BlkioDeviceReadIOps: rates,
  BlkioDeviceWriteIOps: rates,
  CpuPeriod: integer,
  CpuQuota: integer,
  CpuRealtimePeriod: integer,
  CpuRealtimeRuntime: integer,
  CpusetCpus: text,
  CpusetMems: text,
  Devices: list(object({ PathOnHost: text, PathInContainer: text, CgroupPermissions: text })),
  DeviceCgroupRules: texts,
  DeviceRequests: list(object({ Driver: text, Count: integer, DeviceIDs: texts, Capabilities: list(texts), Options: textMap })),
  MemoryReservation: integer,
  MemorySwap: integer,
  MemorySwappiness: integer,
  OomKillDisable: bool,
  PidsLimit: integer,
  Ulimits: list(object({ Name: text, Soft: integer, Hard: integer })),
};

const restartPolicy = object({ Name: text, MaximumRetryCount: integer });

const portMap = map(list(object({ HostIp: text, HostPort: text })));

const mount = object({
  Type: text,
  Source: text,
  Target: text,
  ReadOnly: bool,
  Consistency: text,
  BindOptions: object({
    Propagation: text,
    NonRecursive: bool,
    CreateMountpoint: bool,
    ReadOnlyNonRecursive: bool,
    ReadOnlyForceRecursive: bool,
  }),
  VolumeOptions: object({ NoCopy: bool, Labels: textMap, DriverConfig: object({ Name: text, Options: textMap }), Subpath: text }),
  ImageOptions: object({ Subpath: text }),
  TmpfsOptions: object({ SizeBytes: integer, Mode: integer, Options: list(texts) }),
});

const hostConfig = object({
  ...resourceProperties,
  Binds: texts,
  ContainerIDFile: text,
  LogConfig: object({ Type: text, Config: textMap }),
  NetworkMode: text,
  PortBindings: portMap,
  RestartPolicy: restartPolicy,
  AutoRemove: bool,
  VolumeDriver: text,
  VolumesFrom: texts,
  ConsoleSize: list({ type: 'integer' }),
  Annotations: textMap,
  CapAdd: texts,
  CapDrop: texts,
  CgroupnsMode: text,
  Dns: texts,
  DnsOptions: texts,
  DnsSearch: texts,
  ExtraHosts: texts,
  GroupAdd: texts,
  IpcMode: text,
  Cgroup: text,
  Links: texts,
  OomScoreAdj: integer,
  PidMode: text,
  Privileged: bool,
  PublishAllPorts: bool,
  ReadonlyRootfs: bool,
  SecurityOpt: texts,
  StorageOpt: textMap,
  Tmpfs: textMap,
  UTSMode: text,
  UsernsMode: text,
  ShmSize: integer,
  Sysctls: textMap,
  Runtime: text,
  Isolation: text,
  Mounts: list(mount),
  MaskedPaths: texts,
  ReadonlyPaths: texts,
  Init: bool,
});

export const endpoint = object({
  IPAMConfig: object({ IPv4Address: text, IPv6Address: text, LinkLocalIPs: texts }),
  Links: texts,
  Aliases: texts,
  MacAddress: text,
  DriverOpts: textMap,
  GwPriority: number,
});

export const create = {
  body: required(object({ ...configProperties, HostConfig: hostConfig, NetworkingConfig: object({ EndpointsConfig: map(endpoint) }) })),
};

export const update = { body: required(object({ ...resourceProperties, RestartPolicy: restartPolicy, PortBindings: portMap })) };
export const addMount = { body: required(mount) };
export const changePorts = { body: required(object({ Add: portMap, Remove: portMap })) };

/** A body that may be left out: overrides of the container's own configuration. */
export const commit = { body: object(configProperties) };

export const LIST_FILTERS = [
  'ancestor',
  'before',
  'exited',
  'expose',
  'health',
  'id',
  'is-task',
  'isolation',
  'label',
  'name',
  'network',
  'publish',
  'since',
  'status',
  'volume',
] as const;

export const PRUNE_FILTERS = ['label', 'label!', 'until'] as const;
