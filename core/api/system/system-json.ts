import type { EngineEvent, SystemInfo, VersionInfo } from '../../system/system.js';
import { NEWEST, OLDEST, versionText } from '../version.js';
import type { VersionAnswer } from './schema.js';

export function versionJson(info: VersionInfo): VersionAnswer {
  const { version, gitCommit, os, arch, kernelVersion, buildTime, nodeVersion } = info;
  return {
    Platform: { Name: 'Gantry Engine' },
    Components: [
      {
        Name: 'Engine',
        Version: version,
        Details: {
          ApiVersion: versionText(NEWEST),
          Arch: arch,
          BuildTime: buildTime,
          Experimental: 'false',
          GitCommit: gitCommit,
          // Clients print this key; there is no Go here.
          GoVersion: `node ${nodeVersion}`,
          KernelVersion: kernelVersion,
          MinAPIVersion: versionText(OLDEST),
          Os: os,
        },
      },
      ...info.components.map((component) => ({ Name: component.name, Version: component.version, Details: { ...component.details } })),
    ],
    Version: version,
    ApiVersion: versionText(NEWEST),
    MinAPIVersion: versionText(OLDEST),
    GitCommit: gitCommit,
    GoVersion: `node ${nodeVersion}`,
    Os: os,
    Arch: arch,
    KernelVersion: kernelVersion,
    BuildTime: buildTime,
  };
}

const isCidr = (text: string): boolean => /^[0-9a-fA-F:.]+\/\d+$/.test(text);

export function infoJson(info: SystemInfo, accessPlugins: readonly string[]): object {
  const runtimes = Object.fromEntries(
    Object.entries(info.runtimes).map(([name, { path, args }]) => [name, { path, ...(args.length > 0 ? { runtimeArgs: args } : {}) }]),
  );
  const secure = Object.fromEntries(
    info.insecureRegistries.filter((name) => !isCidr(name)).map((Name) => [Name, { Name, Mirrors: [], Secure: false, Official: false }]),
  );
  return {
    ID: info.id,
    Containers: info.containers,
    ContainersRunning: info.running,
    ContainersPaused: info.paused,
    ContainersStopped: info.stopped,
    Images: info.images,
    Driver: info.storageDriver,
    DriverStatus: [
      ...info.storageStatus,
      ...info.plugins.map(
        ({ name, state, lastError }) =>
          [`Plugin ${name}`, lastError && state === 'unavailable' ? `${state}: ${lastError.message}` : state] as const,
      ),
      ...info.unavailableDrivers.map(({ kind, name, reason }) => [`Unavailable ${kind} driver ${name}`, reason] as const),
    ],
    Plugins: {
      Volume: info.drivers.volume,
      Network: info.drivers.network,
      Authorization: accessPlugins.length > 0 ? accessPlugins : null,
      Log: info.drivers.log,
    },
    ...clusterFields(info.cluster),
    // The engine's own: what this build is made of.
    DriverSet: { Included: info.driverSet.included, LeftOut: info.driverSet.leftOut },
    MemoryLimit: info.memoryLimit,
    SwapLimit: info.swapLimit,
    CpuCfsPeriod: info.cpuCfs,
    CpuCfsQuota: info.cpuCfs,
    CPUShares: info.cpuShares,
    CPUSet: info.cpuSet,
    PidsLimit: info.pidsLimit,
    OomKillDisable: info.oomKillDisable,
    IPv4Forwarding: info.ipv4Forwarding,
    Debug: info.debug,
    NFd: info.fileDescriptors,
    NGoroutines: info.goroutines,
    SystemTime: info.systemTime,
    LoggingDriver: info.loggingDriver,
    CgroupDriver: info.cgroupDriver,
    CgroupVersion: info.cgroupVersion,
    NEventsListener: info.eventListeners,
    KernelVersion: info.kernelVersion,
    OperatingSystem: info.operatingSystem,
    OSVersion: info.osVersion,
    OSType: 'linux',
    Architecture: info.arch,
    IndexServerAddress: 'https://index.docker.io/v1/',
    RegistryConfig: {
      InsecureRegistryCIDRs: ['::1/128', '127.0.0.0/8', ...info.insecureRegistries.filter(isCidr)],
      IndexConfigs: { 'docker.io': { Name: 'docker.io', Mirrors: info.registryMirrors, Secure: true, Official: true }, ...secure },
      Mirrors: info.registryMirrors,
    },
    NCPU: info.cpus,
    MemTotal: info.memoryTotal,
    GenericResources: null,
    DockerRootDir: info.dataRoot,
    HttpProxy: info.httpProxy,
    HttpsProxy: info.httpsProxy,
    NoProxy: info.noProxy,
    Name: info.name,
    Labels: info.labels,
    ExperimentalBuild: false,
    ServerVersion: info.serverVersion,
    Runtimes: runtimes,
    DefaultRuntime: info.defaultRuntime,
    Swarm: { NodeID: '', NodeAddr: '', LocalNodeState: 'inactive', ControlAvailable: false, Error: '', RemoteManagers: null },
    LiveRestoreEnabled: info.liveRestore,
    Isolation: '',
    InitBinary: info.initBinary,
    // Clients print these three without asking whether there is one; what does their work here is named.
    ContainerdCommit: { ID: `gantry-shim ${info.serverVersion}` },
    RuncCommit: { ID: `gantry-runtime ${info.serverVersion}` },
    InitCommit: { ID: `gantry-init ${info.serverVersion}` },
    SecurityOptions: info.securityOptions,
    ...(info.defaultAddressPools.length > 0
      ? { DefaultAddressPools: info.defaultAddressPools.map(({ base, size }) => ({ Base: base, Size: size })) }
      : {}),
    CDISpecDirs: [],
    Warnings: info.warnings,
  };
}

/** Docker's words for it until API 1.41, and pairs that clients of today print as well. */
function clusterFields(cluster: SystemInfo['cluster']): Record<string, unknown> {
  if (!cluster) return {};
  const { store, address, failure, members } = cluster;
  return {
    ClusterStore: store,
    ClusterAdvertise: address,
    SystemStatus: [
      ['Cluster Store', store],
      ['Cluster Advertise', address],
      ['Cluster Health', failure ? `not followed since ${failure.since.toISOString()}: ${failure.reason}` : 'ok'],
      ['Cluster Members', members.map((member) => `${member.name} (${member.address})`).join(', ')],
    ],
  };
}

/** One line of the event stream. Written by hand at its end: nanoseconds do not fit a JavaScript number. */
export function eventLine(event: EngineEvent): string {
  const legacy =
    event.type === 'container'
      ? { status: event.action, id: event.id, from: event.attributes['image'] ?? '' }
      : event.type === 'image'
        ? { status: event.action, id: event.id }
        : {};
  const answer = {
    ...legacy,
    Type: event.type,
    Action: event.action,
    Actor: { ID: event.id, Attributes: event.attributes },
    scope: 'local',
    time: Number(event.time / 1_000_000_000n),
  };
  return `${JSON.stringify(answer).slice(0, -1)},"timeNano":${event.time}}\n`;
}
