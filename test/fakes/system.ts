import type { System, SystemInfo, VersionInfo } from '@gantry/core/system/system.js';

export class FakeSystem implements System {
  readonly storageDriver = 'overlay2';

  version(): VersionInfo {
    return {
      version: '0.1.0',
      gitCommit: 'abc',
      buildTime: '2026-01-01T00:00:00Z',
      os: 'linux',
      arch: 'amd64',
      kernelVersion: '6.18',
      nodeVersion: 'v26',
      components: [],
    };
  }

  async info(): Promise<SystemInfo> {
    return {
      id: 'engine',
      name: 'host',
      containers: 1,
      running: 1,
      paused: 0,
      stopped: 0,
      images: 1,
      storageDriver: 'overlay2',
      storageStatus: [['Backing Filesystem', 'ext4']],
      cluster: undefined,
      drivers: {
        volume: ['local'],
        network: ['bridge', 'host', 'none'],
        log: ['json-file', 'none'],
        storage: ['overlay2'],
      },
      driverSet: { included: ['storage/vfs'], leftOut: [] },
      unavailableDrivers: [],
      plugins: [],
      memoryLimit: true,
      swapLimit: true,
      cpuCfs: true,
      cpuShares: true,
      cpuSet: true,
      pidsLimit: true,
      oomKillDisable: false,
      ipv4Forwarding: true,
      debug: false,
      fileDescriptors: 30,
      goroutines: 1,
      eventListeners: 0,
      systemTime: '2026-01-01T00:00:00Z',
      loggingDriver: 'json-file',
      cgroupDriver: 'cgroupfs',
      cgroupVersion: '2',
      kernelVersion: '6.18',
      operatingSystem: 'Debian',
      osVersion: '12',
      arch: 'x86_64',
      cpus: 2,
      memoryTotal: 1 << 30,
      dataRoot: '/data',
      labels: [],
      serverVersion: '0.1.0',
      runtimes: { native: { path: 'gantry-runtime', args: [] } },
      defaultRuntime: 'native',
      liveRestore: true,
      initBinary: 'gantry-init',
      securityOptions: ['name=seccomp,profile=builtin', 'name=cgroupns'],
      insecureRegistries: ['10.0.0.0/8', 'registry.test:5000'],
      registryMirrors: [],
      defaultAddressPools: [],
      warnings: [],
      httpProxy: '',
      httpsProxy: '',
      noProxy: '',
    };
  }
}
