import { existsSync, readFileSync, statfsSync } from 'node:fs';
import { join } from 'node:path';

/** Which limits this host's cgroups can set. */
export interface CgroupFeatures {
  readonly version: '1' | '2';
  readonly memoryLimit: boolean;
  readonly swapLimit: boolean;
  readonly oomKillDisable: boolean;
  readonly cpuShares: boolean;
  readonly cpuCfs: boolean;
  readonly cpuSet: boolean;
  readonly pidsLimit: boolean;
}

/** f_type of a pure version 2 hierarchy. A hybrid layout has tmpfs there. */
const CGROUP2 = 0x63677270;

const readOr = (path: string, absent: string): string => {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return absent;
  }
};

/** Looks at `root` (`/sys/fs/cgroup`). Some file looks on kernel file systems: fractions of a millisecond. */
export function cgroupFeatures(root = '/sys/fs/cgroup', isVersion2 = isCgroup2(root)): CgroupFeatures {
  const has = (...path: string[]): boolean => existsSync(join(root, ...path));
  if (isVersion2) {
    const controllers = new Set(readOr(join(root, 'cgroup.controllers'), '').trim().split(/\s+/));
    // The root group has no memory files, so swap accounting shows in a child alone; modern kernels always have it with memory.
    const memory = controllers.has('memory');
    return {
      version: '2',
      memoryLimit: memory,
      swapLimit: memory && existsSync('/proc/swaps'),
      oomKillDisable: false,
      cpuShares: controllers.has('cpu'),
      cpuCfs: controllers.has('cpu'),
      cpuSet: controllers.has('cpuset'),
      pidsLimit: controllers.has('pids'),
    };
  }
  return {
    version: '1',
    memoryLimit: has('memory', 'memory.limit_in_bytes'),
    swapLimit: has('memory', 'memory.memsw.limit_in_bytes'),
    oomKillDisable: has('memory', 'memory.oom_control'),
    cpuShares: has('cpu', 'cpu.shares'),
    cpuCfs: has('cpu', 'cpu.cfs_quota_us'),
    cpuSet: has('cpuset', 'cpuset.cpus'),
    // The root group of version 1 has no limit file, as nothing limits it.
    pidsLimit: has('pids'),
  };
}

function isCgroup2(root: string): boolean {
  try {
    return statfsSync(root).type === CGROUP2;
  } catch {
    return false;
  }
}
