import { readFile, access } from 'node:fs/promises';
import { availableParallelism, release } from 'node:os';
import { CAPABILITIES } from './capabilities.js';

/** What this host is, as far as a container's specification follows from it. Read once; nothing here changes while the daemon runs. */
export interface HostFacts {
  readonly cgroupVersion: 1 | 2;
  readonly cpus: number;
  /** Lists as the kernel writes them (`0-3,8`). */
  readonly cpusetCpus: string;
  readonly cpusetMems: string;
  /** Major and minor. */
  readonly kernel: readonly [number, number];
  /** Go's word: `amd64`, `arm64`. */
  readonly architecture: string;
  /** Capabilities that the kernel knows and the daemon may pass on. */
  readonly capabilities: readonly string[];
  readonly swapLimit: boolean;
  readonly memoryLimit: boolean;
  readonly pidsLimit: boolean;
  readonly cpuShares: boolean;
  readonly cpuQuota: boolean;
  readonly cpuset: boolean;
  readonly blkioWeight: boolean;
  readonly oomKillDisable: boolean;
  readonly apparmor: boolean;
  readonly seccomp: boolean;
  /** POSIX message queues are mounted at /dev/mqueue. */
  readonly mqueue: boolean;
}

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );
const text = (path: string): Promise<string> => readFile(path, 'utf8').catch(() => '');

/** Go's words for Node's. */
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', ia32: '386' };

/** Reads /proc and /sys alone, which cannot block. */
export async function readHostFacts(): Promise<HostFacts> {
  const status = await text('/proc/self/status');
  const mask =
    BigInt(`0x${/^CapBnd:\s*([0-9a-f]+)/m.exec(status)?.[1] ?? '0'}`) & BigInt(`0x${/^CapPrm:\s*([0-9a-f]+)/m.exec(status)?.[1] ?? '0'}`);
  const last = Number((await text('/proc/sys/kernel/cap_last_cap')) || CAPABILITIES.length - 1);
  const version = /^(\d+)\.(\d+)/.exec(release());
  const v2 = await exists('/sys/fs/cgroup/cgroup.controllers');
  const controllers = v2 ? (await text('/sys/fs/cgroup/cgroup.controllers')).trim().split(' ') : [];
  const v1 = (path: string): Promise<boolean> => exists(`/sys/fs/cgroup/${path}`);
  const has = async (controller: string, file: string): Promise<boolean> =>
    v2 ? controllers.includes(controller) : v1(`${controller}/${file}`);
  const cpuset = v2 ? '/sys/fs/cgroup/cpuset.cpus.effective' : '/sys/fs/cgroup/cpuset/cpuset.effective_cpus';
  const mems = v2 ? '/sys/fs/cgroup/cpuset.mems.effective' : '/sys/fs/cgroup/cpuset/cpuset.effective_mems';
  return {
    cgroupVersion: v2 ? 2 : 1,
    cpus: availableParallelism(),
    cpusetCpus: (await text(cpuset)).trim(),
    cpusetMems: (await text(mems)).trim(),
    kernel: [Number(version?.[1] ?? 0), Number(version?.[2] ?? 0)],
    architecture: ARCHITECTURES[process.arch] ?? process.arch,
    capabilities: CAPABILITIES.filter((_, number) => number <= last && (mask >> BigInt(number)) % 2n === 1n),
    memoryLimit: await has('memory', 'memory.limit_in_bytes'),
    // The root of v2 has no memory.swap.max; the kernel tells whether swap is counted by the file in any child, and it is unless switched off at boot.
    swapLimit: v2
      ? controllers.includes('memory') && !/\bswapaccount=0\b/.test(await text('/proc/cmdline'))
      : await v1('memory/memory.memsw.limit_in_bytes'),
    pidsLimit: v2 ? controllers.includes('pids') : await v1('pids'),
    cpuShares: await has('cpu', 'cpu.shares'),
    cpuQuota: await has('cpu', 'cpu.cfs_quota_us'),
    cpuset: await has('cpuset', 'cpuset.cpus'),
    blkioWeight: v2 ? controllers.includes('io') : (await v1('blkio/blkio.weight')) || (await v1('blkio/blkio.bfq.weight')),
    oomKillDisable: !v2 && (await v1('memory/memory.oom_control')),
    apparmor: (await text('/sys/module/apparmor/parameters/enabled')).startsWith('Y'),
    seccomp: /^Seccomp:/m.test(status),
    mqueue: await exists('/dev/mqueue'),
  };
}
