/** The parts of Docker's create request that this program fills in, with Docker's names. What is undefined is not sent. */

export interface Ulimit {
  Name: string;
  Soft: number;
  Hard: number;
}

export interface BlkioRate {
  Path: string;
  Rate: number;
}

export interface BlkioWeight {
  Path: string;
  Weight: number;
}

export interface DeviceRequest {
  Driver?: string;
  Count?: number;
  DeviceIDs?: string[];
  Capabilities?: string[][];
  Options?: Record<string, string>;
}

export interface Mount {
  Type: string;
  Source?: string;
  Target?: string;
  ReadOnly?: boolean;
  Consistency?: string;
  BindOptions?: {
    Propagation?: string;
    NonRecursive?: boolean;
    ReadOnlyNonRecursive?: boolean;
    ReadOnlyForceRecursive?: boolean;
    CreateMountpoint?: boolean;
  };
  VolumeOptions?: {
    NoCopy?: boolean;
    Labels?: Record<string, string>;
    Subpath?: string;
    DriverConfig?: { Name?: string; Options?: Record<string, string> };
  };
  ImageOptions?: { Subpath?: string };
  TmpfsOptions?: { SizeBytes?: number; Mode?: number };
}

/** One use of --network, before it becomes an endpoint. */
export interface NetworkChoice {
  target: string;
  aliases: string[];
  driverOpts: Record<string, string>;
  links: string[];
  ip: string;
  ip6: string;
  linkLocalIps: string[];
  mac: string;
  gatewayPriority: number;
}

export interface EndpointSettings {
  IPAMConfig?: { IPv4Address?: string; IPv6Address?: string; LinkLocalIPs?: string[] };
  Links?: string[];
  Aliases?: string[];
  MacAddress?: string;
  DriverOpts?: Record<string, string>;
  GwPriority?: number;
}

export interface PortBinding {
  HostIp: string;
  HostPort: string;
}

export interface CreateBody {
  Hostname?: string;
  Domainname?: string;
  User?: string;
  AttachStdin: boolean;
  AttachStdout: boolean;
  AttachStderr: boolean;
  ExposedPorts?: Record<string, object>;
  Tty: boolean;
  OpenStdin: boolean;
  StdinOnce: boolean;
  Env?: string[];
  Cmd?: string[];
  Healthcheck?: { Test?: string[]; Interval?: number; Timeout?: number; StartPeriod?: number; StartInterval?: number; Retries?: number };
  Image: string;
  Volumes?: Record<string, object>;
  WorkingDir?: string;
  Entrypoint?: string[];
  MacAddress?: string;
  Labels?: Record<string, string>;
  StopSignal?: string;
  StopTimeout?: number;
  HostConfig: HostConfig;
  NetworkingConfig: { EndpointsConfig: Record<string, EndpointSettings> };
}

/** The limits that `update` can change as well. */
export interface Resources {
  CpuShares?: number | undefined;
  Memory?: number | undefined;
  NanoCpus?: number | undefined;
  BlkioWeight?: number | undefined;
  CpuPeriod?: number | undefined;
  CpuQuota?: number | undefined;
  CpuRealtimePeriod?: number | undefined;
  CpuRealtimeRuntime?: number | undefined;
  CpusetCpus?: string | undefined;
  CpusetMems?: string | undefined;
  MemoryReservation?: number | undefined;
  MemorySwap?: number | undefined;
  PidsLimit?: number | undefined;
}

export interface RestartPolicy {
  Name: string;
  MaximumRetryCount: number;
}

export interface HostConfig extends Resources {
  Annotations?: Record<string, string>;
  AutoRemove?: boolean;
  Binds?: string[];
  BlkioDeviceReadBps?: BlkioRate[];
  BlkioDeviceReadIOps?: BlkioRate[];
  BlkioDeviceWriteBps?: BlkioRate[];
  BlkioDeviceWriteIOps?: BlkioRate[];
  BlkioWeightDevice?: BlkioWeight[];
  CapAdd?: string[];
  CapDrop?: string[];
  CgroupParent?: string;
  CgroupnsMode?: string;
  /** Rows and columns. */
  ConsoleSize?: readonly [number, number];
  ContainerIDFile?: string;
  DeviceCgroupRules?: string[];
  DeviceRequests?: DeviceRequest[];
  Devices?: { PathOnHost: string; PathInContainer: string; CgroupPermissions: string }[];
  Dns?: string[];
  DnsOptions?: string[];
  DnsSearch?: string[];
  ExtraHosts?: string[];
  GroupAdd?: string[];
  Init?: boolean;
  IpcMode?: string;
  Isolation?: string;
  KernelMemory?: number;
  Links?: string[];
  LogConfig: { Type: string; Config: Record<string, string> };
  MaskedPaths?: string[];
  MemorySwappiness?: number;
  Mounts?: Mount[];
  NetworkMode: string;
  OomKillDisable?: boolean;
  OomScoreAdj?: number;
  PidMode?: string;
  PortBindings?: Record<string, PortBinding[]>;
  Privileged?: boolean;
  PublishAllPorts?: boolean;
  ReadonlyPaths?: string[];
  ReadonlyRootfs?: boolean;
  RestartPolicy: RestartPolicy;
  Runtime?: string;
  SecurityOpt?: string[];
  ShmSize?: number;
  StorageOpt?: Record<string, string>;
  Sysctls?: Record<string, string>;
  Tmpfs?: Record<string, string>;
  UTSMode?: string;
  Ulimits?: Ulimit[];
  UsernsMode?: string;
  VolumeDriver?: string;
  VolumesFrom?: string[];
}
