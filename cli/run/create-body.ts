import { terminalSize } from '../terminal.js';
import type { ContainerFlags } from '../run-flags.js';
import type { CreateBody, HostConfig } from './body.js';
import { parseDevices } from './devices.js';
import { pairs, readEnvironment, readLabels } from './key-values.js';
import { parseRestartPolicy } from './limits.js';
import { parseVolume } from './mounts.js';
import { macAddress, networkEndpoints } from './networks.js';
import { parsePorts } from './ports.js';
import { parseSecurity } from './security.js';

/**
 * The create request that a command line means.
 *
 * @param given names of the flags that were on the line, for those whose absence differs from their zero value
 * @throws Error with Docker's message where flags contradict each other or a value makes no sense
 */
export const createBody = (flags: ContainerFlags, given: ReadonlySet<string>, image: string, command: readonly string[]): CreateBody => {
  const swappiness = flags['memory-swappiness'];
  if (swappiness !== -1 && (swappiness < 0 || swappiness > 100))
    throw new Error(`invalid value: ${swappiness}. Valid memory swappiness range is 0-100`);
  if (flags['mac-address'] !== '') macAddress(flags['mac-address']);
  const attachAll = flags.attach.length === 0;
  const attachStdin = flags.interactive || flags.attach.includes('stdin');
  const ports = parsePorts(flags.publish, flags.expose);
  const volumes = volumesOf(flags.volume);
  const network = networkEndpoints([...flags.network, ...flags.net], {
    aliases: [...flags['network-alias'], ...flags['net-alias']],
    links: flags.link,
    ip: flags.ip,
    ip6: flags.ip6,
    mac: flags['mac-address'],
    linkLocalIps: flags['link-local-ip'],
  });
  const health = healthcheck(flags);
  const environment = readEnvironment(flags['env-file'], flags.env);
  const labels = readLabels(flags['label-file'], flags.label);
  return {
    ...text('Hostname', flags.hostname),
    ...text('Domainname', flags.domainname),
    ...text('User', flags.user),
    ...text('WorkingDir', flags.workdir),
    ...text('MacAddress', flags['mac-address']),
    AttachStdin: attachStdin,
    AttachStdout: attachAll || flags.attach.includes('stdout'),
    AttachStderr: attachAll || flags.attach.includes('stderr'),
    Tty: flags.tty,
    OpenStdin: flags.interactive,
    StdinOnce: flags.interactive && attachStdin,
    Image: image,
    ...(command.length > 0 ? { Cmd: [...command] } : {}),
    ...(given.has('entrypoint') ? { Entrypoint: [flags.entrypoint] } : {}),
    ...(environment.length > 0 ? { Env: environment } : {}),
    Labels: labels,
    ...(Object.keys(ports.exposed).length > 0 ? { ExposedPorts: ports.exposed } : {}),
    ...(Object.keys(volumes.anonymous).length > 0 ? { Volumes: volumes.anonymous } : {}),
    ...(health ? { Healthcheck: health } : {}),
    ...(given.has('stop-signal') ? { StopSignal: flags['stop-signal'] } : {}),
    ...(given.has('stop-timeout') ? { StopTimeout: flags['stop-timeout'] } : {}),
    HostConfig: hostConfig(flags, given, ports.bindings, volumes.binds, network.mode),
    NetworkingConfig: { EndpointsConfig: network.endpoints },
  };
};

const text = <K extends string>(key: K, value: string): Record<K, string> | object => (value === '' ? {} : { [key]: value });

const hostConfig = (
  flags: ContainerFlags,
  given: ReadonlySet<string>,
  bindings: HostConfig['PortBindings'],
  binds: string[],
  networkMode: string,
): HostConfig => {
  const restart = parseRestartPolicy(flags.restart);
  if (flags.rm && restart.Name !== '' && restart.Name !== 'no')
    throw new Error('conflicting options: cannot specify both --restart and --rm');
  const security = parseSecurity(flags['security-opt']);
  const { devices, cdi } = parseDevices(flags.device);
  const deviceRequests = [...flags.gpus, ...(cdi.length > 0 ? [{ Driver: 'cdi', DeviceIDs: cdi }] : [])];
  const storage = storageOptions(flags['storage-opt'], flags['storage-driver']);
  const body: HostConfig = {
    NetworkMode: networkMode,
    RestartPolicy: restart,
    LogConfig: logConfig(flags['log-driver'], flags['log-opt']),
    Annotations: flags.annotation,
    AutoRemove: flags.rm,
    Binds: binds,
    BlkioDeviceReadBps: flags['device-read-bps'],
    BlkioDeviceReadIOps: flags['device-read-iops'],
    BlkioDeviceWriteBps: flags['device-write-bps'],
    BlkioDeviceWriteIOps: flags['device-write-iops'],
    BlkioWeight: flags['blkio-weight'],
    BlkioWeightDevice: flags['blkio-weight-device'],
    CapAdd: flags['cap-add'],
    CapDrop: flags['cap-drop'],
    CgroupParent: flags['cgroup-parent'],
    CgroupnsMode: mode(flags.cgroupns, ['host', 'private'], '--cgroupns: invalid CGROUP mode'),
    ContainerIDFile: flags.cidfile,
    CpuPeriod: flags['cpu-period'],
    CpuQuota: flags['cpu-quota'],
    CpuRealtimePeriod: flags['cpu-rt-period'],
    CpuRealtimeRuntime: flags['cpu-rt-runtime'],
    CpuShares: flags['cpu-shares'],
    CpusetCpus: flags['cpuset-cpus'],
    CpusetMems: flags['cpuset-mems'],
    DeviceCgroupRules: flags['device-cgroup-rule'],
    DeviceRequests: deviceRequests,
    Devices: devices,
    Dns: flags.dns,
    DnsOptions: [...flags['dns-option'], ...flags['dns-opt']],
    DnsSearch: flags['dns-search'],
    ExtraHosts: flags['add-host'],
    GroupAdd: flags['group-add'],
    IpcMode: flags.ipc,
    Isolation: flags.isolation,
    KernelMemory: flags['kernel-memory'],
    Links: flags.link,
    Memory: flags.memory,
    MemoryReservation: flags['memory-reservation'],
    MemorySwap: flags['memory-swap'],
    Mounts: flags.mount,
    NanoCpus: flags.cpus,
    OomKillDisable: flags['oom-kill-disable'],
    OomScoreAdj: flags['oom-score-adj'],
    PidMode: mode(flags.pid, ['host', 'container:'], '--pid: invalid PID mode'),
    PidsLimit: flags['pids-limit'],
    PortBindings: bindings ?? {},
    Privileged: flags.privileged,
    PublishAllPorts: flags['publish-all'],
    ReadonlyRootfs: flags['read-only'],
    Runtime: flags.runtime,
    SecurityOpt: security.options,
    ShmSize: flags['shm-size'],
    StorageOpt: storage,
    Sysctls: flags.sysctl,
    Tmpfs: Object.fromEntries(
      flags.tmpfs.map((each) => [each.split(':', 1)[0] as string, each.includes(':') ? each.slice(each.indexOf(':') + 1) : '']),
    ),
    UTSMode: mode(flags.uts, ['host'], '--uts: invalid UTS mode'),
    Ulimits: Object.values(flags.ulimit).sort((left, right) => (left.Name < right.Name ? -1 : 1)),
    UsernsMode: mode(flags.userns, ['host'], '--userns: invalid USER mode'),
    VolumeDriver: flags['volume-driver'],
    VolumesFrom: flags['volumes-from'],
  };
  const size = terminalSize();
  return {
    ...withoutZeros(body),
    // So that the first thing the process draws fits the window.
    ...(flags.tty && size.height > 0 ? { ConsoleSize: [size.height, size.width] as const } : {}),
    ...(flags['memory-swappiness'] === -1 ? {} : { MemorySwappiness: flags['memory-swappiness'] }),
    ...(given.has('init') ? { Init: flags.init } : {}),
    ...(security.unmasked ? { MaskedPaths: [], ReadonlyPaths: [] } : {}),
  };
};

/** What has its zero value says the same as what is absent, and an older engine may not know the name. */
const withoutZeros = (body: HostConfig): HostConfig =>
  Object.fromEntries(
    Object.entries(body).filter(
      ([, value]) =>
        value !== '' &&
        value !== 0 &&
        value !== false &&
        value !== undefined &&
        !(typeof value === 'object' && Object.keys(value).length === 0),
    ),
  ) as unknown as HostConfig;

const mode = (value: string, known: readonly string[], message: string): string => {
  const fine =
    value === '' || known.some((each) => (each.endsWith(':') ? value.startsWith(each) && value.length > each.length : value === each));
  if (!fine) throw new Error(message);
  return value;
};

const volumesOf = (texts: readonly string[]): { binds: string[]; anonymous: Record<string, object> } => {
  const binds: string[] = [];
  const anonymous: Record<string, object> = {};
  for (const each of texts) {
    const volume = parseVolume(each);
    if ('bind' in volume) binds.push(volume.bind);
    else anonymous[volume.target] = {};
  }
  return { binds, anonymous };
};

const logConfig = (driver: string, options: readonly string[]): HostConfig['LogConfig'] => {
  if (driver === 'none' && options.length > 0) throw new Error(`invalid logging opts for driver ${driver}`);
  return { Type: driver, Config: pairs(options) };
};

const storageOptions = (options: readonly string[], driver: string): Record<string, string> => {
  for (const option of options) if (!option.includes('=')) throw new Error('invalid storage option');
  const all = pairs(options);
  if (driver === '') return all;
  if (all['driver'] !== undefined && all['driver'] !== driver)
    throw new Error('conflicting options: --storage-driver and --storage-opt driver= name different drivers');
  return { ...all, driver };
};

const healthcheck = (flags: ContainerFlags): CreateBody['Healthcheck'] => {
  const times = {
    Interval: flags['health-interval'],
    Timeout: flags['health-timeout'],
    Retries: flags['health-retries'],
    StartPeriod: flags['health-start-period'],
    StartInterval: flags['health-start-interval'],
  };
  const any = flags['health-cmd'] !== '' || Object.values(times).some((value) => value !== 0);
  if (flags['no-healthcheck']) {
    if (any) throw new Error('--no-healthcheck conflicts with --health-* options');
    return { Test: ['NONE'] };
  }
  if (!any) return undefined;
  for (const name of ['health-interval', 'health-timeout', 'health-retries', 'health-start-period', 'health-start-interval'] as const) {
    if (flags[name] < 0) throw new Error(`--${name} cannot be negative`);
  }
  return {
    ...(flags['health-cmd'] === '' ? {} : { Test: ['CMD-SHELL', flags['health-cmd']] }),
    ...Object.fromEntries(Object.entries(times).filter(([, value]) => value !== 0)),
  };
};
