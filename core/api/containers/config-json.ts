import type { ContainerConfig, Healthcheck, HostConfig, MountRequest, ProcessConfig, Resources } from '../../container/container.js';

/** Null where Docker has a nil list. */
const orNull = <T>(list: readonly T[]): readonly T[] | null => (list.length > 0 ? list : null);

const setOf = (keys: readonly string[]): Record<string, object> => Object.fromEntries(keys.map((key) => [key, {}]));

function healthcheckJson(check: Healthcheck): object {
  return {
    ...(check.test.length > 0 ? { Test: check.test } : {}),
    ...(check.interval ? { Interval: check.interval } : {}),
    ...(check.timeout ? { Timeout: check.timeout } : {}),
    ...(check.startPeriod ? { StartPeriod: check.startPeriod } : {}),
    ...(check.startInterval ? { StartInterval: check.startInterval } : {}),
    ...(check.retries ? { Retries: check.retries } : {}),
  };
}

/** What containers' and images' configurations have in common. */
function processJson(config: ProcessConfig): object {
  return {
    User: config.user,
    ...(config.exposedPorts.length > 0 ? { ExposedPorts: setOf(config.exposedPorts) } : {}),
    Env: config.env,
    Cmd: config.cmd ?? null,
    ...(config.healthcheck ? { Healthcheck: healthcheckJson(config.healthcheck) } : {}),
    Volumes: config.volumes.length > 0 ? setOf(config.volumes) : null,
    WorkingDir: config.workingDir,
    Entrypoint: config.entrypoint ?? null,
    OnBuild: orNull(config.onBuild),
    Labels: config.labels,
    ...(config.stopSignal ? { StopSignal: config.stopSignal } : {}),
    ...(config.shell ? { Shell: config.shell } : {}),
  };
}

export function containerConfigJson(config: ContainerConfig): object {
  return {
    Hostname: config.hostname,
    Domainname: config.domainname,
    AttachStdin: config.attachStdin,
    AttachStdout: config.attachStdout,
    AttachStderr: config.attachStderr,
    Tty: config.tty,
    OpenStdin: config.openStdin,
    StdinOnce: config.stdinOnce,
    Image: config.image,
    ...processJson(config),
    ...(config.networkDisabled ? { NetworkDisabled: true } : {}),
    ...(config.macAddress ? { MacAddress: config.macAddress } : {}),
    ...(config.stopTimeout === undefined ? {} : { StopTimeout: config.stopTimeout }),
  };
}

/** An image's configuration has the container's keys, most of them empty. */
export function imageConfigJson(config: ProcessConfig): object {
  return {
    Hostname: '',
    Domainname: '',
    AttachStdin: false,
    AttachStdout: false,
    AttachStderr: false,
    Tty: false,
    OpenStdin: false,
    StdinOnce: false,
    Image: '',
    ...processJson(config),
    Labels: Object.keys(config.labels).length > 0 ? config.labels : null,
  };
}

const ratesJson = (rates: readonly { path: string; rate: number }[]): object[] =>
  rates.map(({ path, rate }) => ({ Path: path, Rate: rate }));

function resourcesJson(resources: Resources): object {
  return {
    CpuShares: resources.cpuShares,
    Memory: resources.memory,
    NanoCpus: resources.nanoCpus,
    CgroupParent: resources.cgroupParent,
    BlkioWeight: resources.blkioWeight,
    BlkioWeightDevice: resources.blkioWeightDevice.map(({ path, weight }) => ({ Path: path, Weight: weight })),
    BlkioDeviceReadBps: ratesJson(resources.blkioDeviceReadBps),
    BlkioDeviceWriteBps: ratesJson(resources.blkioDeviceWriteBps),
    BlkioDeviceReadIOps: ratesJson(resources.blkioDeviceReadIops),
    BlkioDeviceWriteIOps: ratesJson(resources.blkioDeviceWriteIops),
    CpuPeriod: resources.cpuPeriod,
    CpuQuota: resources.cpuQuota,
    CpuRealtimePeriod: resources.cpuRealtimePeriod,
    CpuRealtimeRuntime: resources.cpuRealtimeRuntime,
    CpusetCpus: resources.cpusetCpus,
    CpusetMems: resources.cpusetMems,
    Devices: resources.devices.map((device) => ({
      PathOnHost: device.pathOnHost,
      PathInContainer: device.pathInContainer,
      CgroupPermissions: device.cgroupPermissions,
    })),
    DeviceCgroupRules: orNull(resources.deviceCgroupRules),
    // Records made before there were any have none.
    DeviceRequests: orNull(
      (resources.deviceRequests ?? []).map((request) => ({
        Driver: request.driver,
        Count: request.count,
        DeviceIDs: orNull(request.deviceIds),
        Capabilities: request.capabilities,
        Options: request.options,
      })),
    ),
    MemoryReservation: resources.memoryReservation,
    MemorySwap: resources.memorySwap,
    MemorySwappiness: resources.memorySwappiness ?? null,
    OomKillDisable: resources.oomKillDisable ?? null,
    PidsLimit: resources.pidsLimit ?? null,
    Ulimits: resources.ulimits.map(({ name, soft, hard }) => ({ Name: name, Hard: hard, Soft: soft })),
    // Windows' own, which Docker prints on Linux as well.
    CpuCount: 0,
    CpuPercent: 0,
    IOMaximumIOps: 0,
    IOMaximumBandwidth: 0,
  };
}

function mountRequestJson(mount: MountRequest): object {
  const { bind, volume, tmpfs, image } = mount;
  return {
    Type: mount.type,
    ...(mount.source ? { Source: mount.source } : {}),
    Target: mount.target,
    ...(mount.readOnly ? { ReadOnly: true } : {}),
    ...(mount.consistency ? { Consistency: mount.consistency } : {}),
    ...(bind
      ? {
          BindOptions: {
            ...(bind.propagation ? { Propagation: bind.propagation } : {}),
            ...(bind.nonRecursive ? { NonRecursive: true } : {}),
            ...(bind.createMountpoint ? { CreateMountpoint: true } : {}),
            ...(bind.readOnlyNonRecursive ? { ReadOnlyNonRecursive: true } : {}),
            ...(bind.readOnlyForceRecursive ? { ReadOnlyForceRecursive: true } : {}),
          },
        }
      : {}),
    ...(volume
      ? {
          VolumeOptions: {
            ...(volume.noCopy ? { NoCopy: true } : {}),
            ...(Object.keys(volume.labels).length > 0 ? { Labels: volume.labels } : {}),
            ...(volume.driver || Object.keys(volume.driverOptions).length > 0
              ? { DriverConfig: { Name: volume.driver, Options: volume.driverOptions } }
              : {}),
            ...(volume.subpath ? { Subpath: volume.subpath } : {}),
          },
        }
      : {}),
    ...(image ? { ImageOptions: image.subpath ? { Subpath: image.subpath } : {} } : {}),
    ...(tmpfs
      ? {
          TmpfsOptions: {
            ...(tmpfs.sizeBytes ? { SizeBytes: tmpfs.sizeBytes } : {}),
            ...(tmpfs.mode ? { Mode: tmpfs.mode } : {}),
            ...(tmpfs.options.length > 0 ? { Options: tmpfs.options } : {}),
          },
        }
      : {}),
  };
}

/** The echo of what was sent, filled where the engine filled it: clients compare and would see drift. */
/** A legacy link as dockerd shows it, `/CONTAINER:/NAME/ALIAS`, where it was asked for as `CONTAINER:ALIAS`. */
function linkJson(link: string, name: string): string {
  const [target = '', alias = target] = link.split(':');
  return `/${target.replace(/^\//, '')}:/${name}/${alias.replace(/^.*\//, '')}`;
}

/** `name` is the container's own. */
export function hostConfigJson(host: HostConfig, name: string): object {
  return {
    Binds: orNull(host.binds),
    ContainerIDFile: host.containerIdFile,
    LogConfig: { Type: host.logDriver, Config: host.logOptions },
    NetworkMode: host.networkMode,
    PortBindings: Object.fromEntries(
      Object.entries(host.portBindings).map(([port, bindings]) => [
        port,
        bindings.map(({ hostIp, hostPort }) => ({ HostIp: hostIp, HostPort: hostPort })),
      ]),
    ),
    RestartPolicy: {
      Name: host.restartPolicy.name === '' ? 'no' : host.restartPolicy.name,
      MaximumRetryCount: host.restartPolicy.maximumRetryCount,
    },
    AutoRemove: host.autoRemove,
    VolumeDriver: host.volumeDriver,
    VolumesFrom: orNull(host.volumesFrom),
    ConsoleSize: host.consoleSize,
    ...(Object.keys(host.annotations).length > 0 ? { Annotations: host.annotations } : {}),
    CapAdd: orNull(host.capAdd),
    CapDrop: orNull(host.capDrop),
    CgroupnsMode: host.cgroupnsMode,
    Dns: host.dns,
    DnsOptions: host.dnsOptions,
    DnsSearch: host.dnsSearch,
    ExtraHosts: orNull(host.extraHosts),
    GroupAdd: orNull(host.groupAdd),
    IpcMode: host.ipcMode,
    Cgroup: '',
    Links: orNull(host.links.map((link) => linkJson(link, name))),
    OomScoreAdj: host.oomScoreAdj,
    PidMode: host.pidMode,
    Privileged: host.privileged,
    PublishAllPorts: host.publishAllPorts,
    ReadonlyRootfs: host.readonlyRootfs,
    SecurityOpt: orNull(host.securityOpt),
    ...(Object.keys(host.storageOptions).length > 0 ? { StorageOpt: host.storageOptions } : {}),
    ...(Object.keys(host.tmpfs).length > 0 ? { Tmpfs: host.tmpfs } : {}),
    UTSMode: host.utsMode,
    UsernsMode: host.usernsMode,
    ShmSize: host.shmSize,
    ...(Object.keys(host.sysctls).length > 0 ? { Sysctls: host.sysctls } : {}),
    Runtime: host.runtime,
    Isolation: '',
    ...resourcesJson(host),
    ...(host.mounts.length > 0 ? { Mounts: host.mounts.map(mountRequestJson) } : {}),
    MaskedPaths: host.maskedPaths ?? null,
    ReadonlyPaths: host.readonlyPaths ?? null,
    ...(host.init === undefined ? {} : { Init: host.init }),
  };
}
