import type { OciMount } from './oci-spec.js';

/** A user's mount with everything that only the start knows. */
export interface BoundMount {
  /** Host path. */
  readonly source: string;
  readonly destination: string;
  readonly readWrite: boolean;
  /** '' for rprivate. */
  readonly propagation: string;
  readonly nonRecursive: boolean;
  readonly recursiveReadOnly: 'enabled' | 'disabled' | 'forced';
}

export interface MountInput {
  readonly binds: readonly BoundMount[];
  /** Target to options. */
  readonly tmpfs: ReadonlyMap<string, string>;
  readonly privileged: boolean;
  readonly writableCgroups: boolean;
  readonly readonlyRootfs: boolean;
  /** Bytes. */
  readonly shmSize: number;
  /** Where /dev/shm comes from: a tmpfs of its own, a host folder, or nowhere. */
  readonly shm: { readonly kind: 'own' } | { readonly kind: 'bind'; readonly path: string } | { readonly kind: 'none' };
  /** /dev/mqueue in the host's IPC namespace: the host's own, where it has one. */
  readonly hostMqueue: 'shown' | 'none' | undefined;
  /** /proc of another pid namespace is mounted anew; nothing else depends on it. */
  readonly initPath: string;
}

const BASE: readonly OciMount[] = [
  { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'noexec', 'nodev'] },
  { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'] },
  {
    destination: '/dev/pts',
    type: 'devpts',
    source: 'devpts',
    options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'],
  },
  { destination: '/sys', type: 'sysfs', source: 'sysfs', options: ['nosuid', 'noexec', 'nodev', 'ro'] },
  { destination: '/sys/fs/cgroup', type: 'cgroup', source: 'cgroup', options: ['ro', 'nosuid', 'noexec', 'nodev'] },
  { destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: ['nosuid', 'noexec', 'nodev'] },
];

/** Stay writable under a read-only root: the kernel's own trees and what programs cannot do without. */
const WRITABLE_UNDER_READONLY = new Set(['/proc', '/dev', '/dev/pts', '/dev/shm', '/dev/mqueue']);

const depth = (path: string): number => path.split('/').length;

/** All mounts of a container, in the order in which they are made: a folder before what lies below it. */
export function ociMounts(input: MountInput): OciMount[] {
  const own = new Set([...input.binds.map((bind) => bind.destination), ...input.tmpfs.keys()]);
  const base = [...BASE];
  if (input.shm.kind === 'own') {
    base.push({
      destination: '/dev/shm',
      type: 'tmpfs',
      source: 'shm',
      options: ['nosuid', 'noexec', 'nodev', 'mode=1777', `size=${input.shmSize}`],
    });
  } else if (input.shm.kind === 'bind') {
    base.push({ destination: '/dev/shm', type: 'bind', source: input.shm.path, options: ['rbind', 'rprivate'] });
  }
  let mounts = base.filter(({ destination }) => !own.has(destination) && !(own.has('/dev') && destination.startsWith('/dev/')));
  if (input.hostMqueue === 'none') mounts = mounts.filter(({ destination }) => destination !== '/dev/mqueue');
  if (input.hostMqueue === 'shown') {
    mounts = mounts.map((mount) =>
      mount.destination === '/dev/mqueue'
        ? { destination: '/dev/mqueue', type: 'bind', source: '/dev/mqueue', options: ['rbind', 'nosuid', 'noexec', 'nodev'] }
        : mount,
    );
  }
  if (input.readonlyRootfs) {
    mounts = mounts.map((mount) =>
      WRITABLE_UNDER_READONLY.has(mount.destination) || mount.options.includes('ro')
        ? mount
        : { ...mount, options: [...mount.options, 'ro'] },
    );
  }
  if (input.privileged || input.writableCgroups) {
    mounts = mounts.map((mount) =>
      (input.privileged && mount.destination === '/sys') || mount.destination === '/sys/fs/cgroup'
        ? { ...mount, options: mount.options.filter((option) => option !== 'ro') }
        : mount,
    );
  }
  const users: OciMount[] = input.binds.map(bindMount);
  for (const [destination, options] of input.tmpfs) {
    users.push({
      destination,
      type: 'tmpfs',
      source: 'tmpfs',
      options: mergeTmpfsOptions(['noexec', 'nosuid', 'nodev', ...(options === '' ? [] : options.split(','))]),
    });
  }
  if (input.initPath !== '') {
    users.push({ destination: '/sbin/docker-init', type: 'bind', source: input.initPath, options: ['bind', 'ro'] });
  }
  // Stable, so that equal depths keep the user's order.
  users.sort((a, b) => depth(a.destination) - depth(b.destination));
  return [...mounts, ...users];
}

function bindMount(bind: BoundMount): OciMount {
  return { destination: bind.destination, type: 'bind', source: bind.source, options: bindOptions(bind) };
}

/** mount(8)'s words for a bind. */
export function bindOptions(bind: Omit<BoundMount, 'source' | 'destination'>): string[] {
  const options = [bind.nonRecursive ? 'bind' : 'rbind'];
  if (!bind.readWrite) {
    options.push('ro');
    // What is mounted below is no way around it, unless that was asked for.
    if (!bind.nonRecursive && bind.recursiveReadOnly !== 'disabled') options.push('rro');
  }
  options.push(bind.propagation === '' ? 'rprivate' : bind.propagation);
  return options;
}

const OPPOSITES: Readonly<Record<string, string>> = {
  exec: 'noexec',
  suid: 'nosuid',
  dev: 'nodev',
  rw: 'ro',
  async: 'sync',
  atime: 'noatime',
  diratime: 'nodiratime',
  relatime: 'norelatime',
  strictatime: 'nostrictatime',
};

/** A later word wins over an earlier one of the same pair, and a later value over an earlier one of the same key. */
export function mergeTmpfsOptions(options: readonly string[]): string[] {
  const families = new Map<string, string>();
  for (const option of options) {
    if (option === 'defaults') continue;
    const key = option.includes('=') ? (option.split('=', 1)[0] ?? '') : (OPPOSITES[option] ?? option);
    families.delete(key);
    families.set(key, option);
  }
  return [...families.values()];
}
