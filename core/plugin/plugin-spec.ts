import { invalid } from '../contracts/errors.js';
import { DEFAULT_CAPABILITIES } from '../container/capabilities.js';
import type { ResolvedDevices } from '../container/devices.js';
import { DEFAULT_PATH } from '../container/environment.js';
import type { OciMount, OciNamespace, OciSpec } from '../container/oci-spec.js';
import { DEFAULT_DEVICE_RULES, MASKED_PATHS, READONLY_PATHS, cgroupPath } from '../container/spec.js';
import { ociMounts } from '../container/spec-mounts.js';
import { METRICS_FOLDER, SOCKET_FOLDER } from './plugin-config.js';
import type { Plugin } from './plugins.js';

export interface PluginSpecInput {
  readonly plugin: Plugin;
  readonly rootfs: string;
  readonly sockets: string;
  /** '' for none. */
  readonly propagated: string;
  /** The folder of the engine's metrics for a plugin that collects them, where no propagated mount is in its place; '' for none. */
  readonly metrics: string;
  readonly devices: ResolvedDevices;
  readonly cgroupParent: string;
  /** Bytes. */
  readonly shmSize: number;
  /** Capabilities that this host can give. */
  readonly available: readonly string[];
}

/** A plugin as an OCI specification: Docker's default container without a seccomp profile, and what its configuration adds. Pure. */
export function buildPluginSpec(input: PluginSpecInput): OciSpec {
  const { plugin, devices } = input;
  const { config, settings } = plugin;
  const wanted = [...new Set([...DEFAULT_CAPABILITIES, ...config.capabilities])];
  const missing = config.capabilities.filter((name) => !input.available.includes(name));
  if (missing.length > 0) throw invalid(`plugin ${plugin.name} needs ${missing.join(', ')}, which the engine does not have here`);
  const capabilities = wanted.filter((name) => input.available.includes(name));
  return {
    ociVersion: '1.0.2',
    process: {
      terminal: false,
      user: { uid: config.user?.uid ?? 0, gid: config.user?.gid ?? 0 },
      args: [...config.entrypoint, ...settings.args],
      env: [`PATH=${DEFAULT_PATH}`, ...settings.env],
      cwd: config.workDir === '' ? '/' : config.workDir,
      capabilities: { bounding: capabilities, effective: capabilities, permitted: capabilities, inheritable: [], ambient: [] },
      noNewPrivileges: false,
    },
    root: { path: input.rootfs, readonly: false },
    hostname: plugin.id.slice(0, 12),
    mounts: mountsOf(input),
    annotations: {},
    linux: {
      namespaces: namespacesOf(plugin),
      resources: { devices: config.allowAllDevices ? [{ allow: true, access: 'rwm' }] : [...DEFAULT_DEVICE_RULES, ...devices.rules] },
      cgroupsPath: cgroupPath(input.cgroupParent, plugin.id),
      devices: devices.devices,
      sysctl: {},
      maskedPaths: MASKED_PATHS,
      readonlyPaths: READONLY_PATHS,
      // What it mounts below the propagated mount shall be seen on the host.
      ...(config.propagatedMount === '' ? {} : { rootfsPropagation: 'shared' }),
    },
  };
}

function namespacesOf({ config }: Plugin): OciNamespace[] {
  const namespaces: OciNamespace[] = [{ type: 'mount' }, { type: 'uts' }];
  if (!config.pidHost) namespaces.push({ type: 'pid' });
  if (!config.ipcHost) namespaces.push({ type: 'ipc' });
  if (config.network !== 'host') namespaces.push({ type: 'network' });
  return namespaces;
}

function mountsOf({ plugin, sockets, propagated, metrics, shmSize }: PluginSpecInput): OciMount[] {
  const { config, settings } = plugin;
  const base = ociMounts({
    binds: [],
    tmpfs: new Map(),
    privileged: false,
    writableCgroups: false,
    readonlyRootfs: false,
    shmSize,
    shm: config.ipcHost ? { kind: 'bind', path: '/dev/shm' } : { kind: 'own' },
    hostMqueue: config.ipcHost ? 'none' : undefined,
    initPath: '',
  });
  const own: OciMount[] = [];
  if (propagated !== '') {
    own.push({ destination: config.propagatedMount, type: 'bind', source: propagated, options: ['rbind', 'rw', 'rshared'] });
  }
  for (const { name, source, destination, type, options } of settings.mounts) {
    if (source === undefined)
      throw invalid(`mount ${JSON.stringify(name || destination)} of plugin ${plugin.name} has no source: set it first`);
    own.push({ destination, type, source, options });
  }
  // Before the sockets, whose folder is below it.
  if (metrics !== '') own.push({ destination: METRICS_FOLDER, type: 'bind', source: metrics, options: ['rbind', 'ro'] });
  own.push({ destination: SOCKET_FOLDER, type: 'bind', source: sockets, options: ['rbind', 'rshared'] });
  if (config.network === 'host' || config.network === 'bridge') {
    for (const file of ['/etc/hosts', '/etc/resolv.conf'])
      own.push({ destination: file, type: 'bind', source: file, options: ['rbind', 'ro'] });
  }
  const replaced = new Set(own.map(({ destination }) => destination));
  return [...base.filter(({ destination }) => !replaced.has(destination)), ...own];
}
