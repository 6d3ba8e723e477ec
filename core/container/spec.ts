import { apparmorProfileOf } from './apparmor.js';
import { environmentOf } from './environment.js';
import { resolveCapabilities } from './capabilities.js';
import type { Container } from './container.js';
import type { ResolvedDevices } from './devices.js';
import type { HostFacts } from './host-facts.js';
import type { OciCapabilities, OciDeviceRule, OciNamespace, OciProcess, OciSeccomp, OciSpec } from './oci-spec.js';
import { defaultSeccompProfile, parseSeccompProfile } from './seccomp-profile.js';
import { type SecurityOptions, parseSecurityOptions } from './security-options.js';
import { type BoundMount, ociMounts } from './spec-mounts.js';
import { type BlockDevices, ociResources } from './spec-resources.js';
import { commandOf } from './merge.js';
import type { ResolvedUser } from './user.js';

/** The daemon's part in a specification. */
export interface SpecDefaults {
  /** '' for /gantry. */
  readonly cgroupParent: string;
  readonly noNewPrivileges: boolean;
  readonly ulimits: readonly { readonly name: string; readonly soft: number; readonly hard: number }[];
  /** '' for the built-in profile, `unconfined`, or a profile's JSON text. */
  readonly seccompProfile: string;
  /** The AppArmor profile of who names none; '' for a kernel that has it not. */
  readonly apparmorProfile: string;
}

/** What only the start of a container knows. */
export interface SpecInput {
  readonly container: Container;
  readonly facts: HostFacts;
  readonly defaults: SpecDefaults;
  readonly user: ResolvedUser;
  /** Name files, volumes and binds, in the user's order. */
  readonly binds: readonly BoundMount[];
  readonly tmpfs: ReadonlyMap<string, string>;
  readonly shm: { readonly kind: 'own' } | { readonly kind: 'bind'; readonly path: string } | { readonly kind: 'none' };
  readonly devices: ResolvedDevices;
  readonly blockDevices: BlockDevices;
  /** `host`, or the path of a namespace to join, or `undefined` for a new one. */
  readonly network: 'host' | { readonly path: string } | undefined;
  readonly pid: 'host' | { readonly path: string } | undefined;
  readonly ipc: 'host' | { readonly path: string } | undefined;
  readonly hostname: string;
  /** '' for none. */
  readonly initPath: string;
}

export const MASKED_PATHS: readonly string[] = [
  '/proc/acpi',
  '/proc/asound',
  '/proc/interrupts',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/sys/devices/virtual/powercap',
  '/sys/firmware',
];
export const READONLY_PATHS: readonly string[] = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'];

/** The devices that every container has; their nodes are the runtime's to make. */
export const DEFAULT_DEVICE_RULES: readonly OciDeviceRule[] = [
  { allow: false, access: 'rwm' },
  { allow: true, type: 'c', major: 1, minor: 5, access: 'rwm' },
  { allow: true, type: 'c', major: 1, minor: 3, access: 'rwm' },
  { allow: true, type: 'c', major: 1, minor: 9, access: 'rwm' },
  { allow: true, type: 'c', major: 1, minor: 8, access: 'rwm' },
  { allow: true, type: 'c', major: 5, minor: 0, access: 'rwm' },
  { allow: true, type: 'c', major: 5, minor: 1, access: 'rwm' },
  { allow: false, type: 'c', major: 10, minor: 229, access: 'rwm' },
];

/** A container's configuration as an OCI specification. Pure: the same input gives the same output. */
export function buildSpec(input: SpecInput): OciSpec {
  const { container, facts } = input;
  const { config, hostConfig } = container;
  const security = parseSecurityOptions(hostConfig.securityOpt);
  const privileged = hostConfig.privileged;
  const process = buildProcess({ ...input, args: processArgs(input), terminal: config.tty, privileged: false });
  const seccomp = seccompOf(input, security, process.capabilities.bounding);
  const unmasked = privileged || security.systemPathsUnconfined;
  return {
    ociVersion: '1.0.2',
    process,
    root: { path: 'rootfs', readonly: hostConfig.readonlyRootfs },
    ...(hostConfig.utsMode === 'host' ? {} : { hostname: input.hostname }),
    mounts: ociMounts({
      binds: input.binds,
      tmpfs: input.tmpfs,
      privileged,
      writableCgroups: security.writableCgroups,
      readonlyRootfs: hostConfig.readonlyRootfs,
      shmSize: hostConfig.shmSize,
      shm: input.shm,
      hostMqueue: input.ipc === 'host' ? (facts.mqueue ? 'shown' : 'none') : undefined,
      initPath: input.initPath,
    }),
    annotations: hostConfig.annotations,
    linux: {
      namespaces: namespacesOf(input),
      resources: ociResources(
        hostConfig,
        facts,
        privileged ? input.devices.rules : [...DEFAULT_DEVICE_RULES, ...input.devices.rules],
        input.blockDevices,
      ),
      cgroupsPath: cgroupPath(hostConfig.cgroupParent || input.defaults.cgroupParent, container.id),
      devices: input.devices.devices,
      ...(seccomp ? { seccomp } : {}),
      sysctl: sysctlsOf(input),
      maskedPaths: hostConfig.maskedPaths ?? (unmasked ? [] : MASKED_PATHS),
      readonlyPaths: hostConfig.readonlyPaths ?? (unmasked ? [] : READONLY_PATHS),
      ...rootPropagation(input.binds),
    },
  };
}

export const cgroupPath = (parent: string, id: string): string =>
  `${parent === '' ? '/gantry' : parent.startsWith('/') ? parent : `/${parent}`}/${id}`;

function processArgs(input: SpecInput): string[] {
  const command = commandOf(input.container.config);
  return input.initPath === '' ? command : ['/sbin/docker-init', '--', ...command];
}

export interface ProcessInput {
  readonly container: Container;
  readonly facts: HostFacts;
  readonly defaults: Pick<SpecDefaults, 'noNewPrivileges' | 'ulimits' | 'apparmorProfile'>;
  readonly user: ResolvedUser;
  readonly hostname: string;
  readonly args: readonly string[];
  readonly terminal: boolean;
  /** An exec with all capabilities in a container that has not. */
  readonly privileged: boolean;
  readonly env?: readonly string[];
  readonly cwd?: string;
  readonly consoleSize?: readonly [number, number];
}

/** The process of a container, or of an exec in it. */
export function buildProcess(input: ProcessInput): OciProcess {
  const { container, facts, user } = input;
  const { config, hostConfig } = container;
  const security = parseSecurityOptions(hostConfig.securityOpt);
  const capabilities = resolveCapabilities({
    add: hostConfig.capAdd,
    drop: hostConfig.capDrop,
    privileged: hostConfig.privileged || input.privileged,
    available: facts.capabilities,
  });
  const limits = new Map([...input.defaults.ulimits, ...hostConfig.ulimits].map((limit) => [limit.name, limit]));
  const consoleSize = input.consoleSize ?? hostConfig.consoleSize;
  const apparmor = apparmorProfileOf(hostConfig, facts, input.privileged ? '' : input.defaults.apparmorProfile);
  return {
    terminal: input.terminal,
    ...(input.terminal && consoleSize[0] > 0 && consoleSize[1] > 0
      ? { consoleSize: { height: consoleSize[0], width: consoleSize[1] } }
      : {}),
    user: { uid: user.uid, gid: user.gid, additionalGids: user.additionalGids },
    args: input.args,
    env: environmentOf({
      hostname: input.hostname,
      terminal: input.terminal,
      config: config.env,
      extra: input.env ?? [],
      home: user.home,
    }),
    cwd: input.cwd ?? (config.workingDir === '' ? '/' : config.workingDir),
    capabilities: capabilitySets(capabilities, user.uid),
    ...(limits.size > 0
      ? { rlimits: [...limits.values()].map(({ name, soft, hard }) => ({ type: `RLIMIT_${name.toUpperCase()}`, soft, hard })) }
      : {}),
    noNewPrivileges: security.noNewPrivileges ?? input.defaults.noNewPrivileges,
    ...(apparmor === '' || apparmor === 'unconfined' ? {} : { apparmorProfile: apparmor }),
    oomScoreAdj: hostConfig.oomScoreAdj,
  };
}

/** Nothing is inheritable or ambient; only root has them in effect, others can gain them by a set-user-ID program alone. */
function capabilitySets(capabilities: readonly string[], uid: number): OciCapabilities {
  const held = uid === 0 ? capabilities : [];
  return { bounding: capabilities, effective: held, permitted: held, inheritable: [], ambient: [] };
}

function seccompOf(input: SpecInput, security: SecurityOptions, capabilities: readonly string[]): OciSeccomp | undefined {
  const { facts, container } = input;
  const target = { capabilities, architecture: facts.architecture, kernel: facts.kernel };
  const asked = security.seccomp;
  if (asked === 'unconfined' || (container.hostConfig.privileged && asked === '')) return undefined;
  if (asked !== '' && asked !== 'builtin') return parseSeccompProfile(asked, target);
  if (asked === '' && input.defaults.seccompProfile !== '') {
    return input.defaults.seccompProfile === 'unconfined' ? undefined : parseSeccompProfile(input.defaults.seccompProfile, target);
  }
  return facts.seccomp ? defaultSeccompProfile(target) : undefined;
}

function namespacesOf(input: SpecInput): OciNamespace[] {
  const { hostConfig } = input.container;
  const namespaces: OciNamespace[] = [{ type: 'mount' }];
  const add = (type: OciNamespace['type'], where: 'host' | { readonly path: string } | undefined): void => {
    if (where === 'host') return;
    namespaces.push(where ? { type, path: where.path } : { type });
  };
  add('network', input.network);
  add('uts', hostConfig.utsMode === 'host' ? 'host' : undefined);
  add('pid', input.pid);
  add('ipc', input.ipc);
  add('cgroup', hostConfig.cgroupnsMode === 'private' ? undefined : 'host');
  return namespaces;
}

function sysctlsOf(input: SpecInput): Record<string, string> {
  const { hostConfig, config } = input.container;
  const sysctls: Record<string, string> = {};
  // A namespace of its own makes both harmless: low ports and ping without a capability.
  if (input.network !== 'host' && !hostConfig.networkMode.startsWith('container:')) {
    sysctls['net.ipv4.ip_unprivileged_port_start'] = '0';
    sysctls['net.ipv4.ping_group_range'] = '0 2147483647';
  }
  if (config.domainname !== '' && hostConfig.utsMode !== 'host') sysctls['kernel.domainname'] = config.domainname;
  return { ...sysctls, ...hostConfig.sysctls };
}

/** A shared bind needs the root to let its propagation through. */
function rootPropagation(binds: readonly BoundMount[]): { rootfsPropagation?: string } {
  if (binds.some(({ propagation }) => propagation === 'shared' || propagation === 'rshared')) return { rootfsPropagation: 'shared' };
  if (binds.some(({ propagation }) => propagation === 'slave' || propagation === 'rslave')) return { rootfsPropagation: 'rslave' };
  return {};
}
