import { readdirSync, readFileSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

/** What an engine can leave in the kernel, each as a sorted list of words. */
export interface KernelState {
  readonly mounts: readonly string[];
  readonly links: readonly string[];
  readonly cgroups: readonly string[];
  readonly namespaces: readonly string[];
  readonly tables: readonly string[];
  readonly processes: readonly string[];
}

const CGROUP_ROOT = '/sys/fs/cgroup';

function lines(command: string, args: readonly string[]): string[] {
  return (spawnSync(command, args, { encoding: 'utf8' }).stdout ?? '').split('\n').filter((line) => line !== '');
}

/** Cgroups below `parent` in every hierarchy, whichever version. */
function cgroupsBelow(folder: string, parent: string, found: string[], depth = 0): void {
  if (depth > 4) return;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (!entry.isDirectory()) continue;
    const path = join(folder, entry.name);
    if (path.includes(`${parent}/`)) found.push(path.slice(CGROUP_ROOT.length));
    cgroupsBelow(path, parent, found, depth + 1);
  }
}

/** What is an engine's own: its folder, the word in its kernel names, and the parent of its cgroups. */
export interface Footprint {
  readonly folder: string;
  readonly instance: string;
  readonly cgroupParent: string;
  /** The network namespace that is its host; '' or absent for this one. */
  readonly within?: string;
}

/**
 * Takes stock of what one engine has in the kernel. Other things go on meanwhile on this machine, so that everything is told apart
 * by the words that the engine puts into its names.
 */
export function kernelState({ folder, instance, cgroupParent, within = '' }: Footprint): KernelState {
  const inside = (command: string, args: readonly string[]): string[] =>
    within === '' ? lines(command, args) : lines('nsenter', [`--net=${within}`, '--', command, ...args]);
  const cgroups: string[] = [];
  try {
    cgroupsBelow(CGROUP_ROOT, cgroupParent, cgroups);
  } catch {
    // a cgroup that ended while it was listed
  }
  const mountinfo = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => line.includes(folder));
  const processes = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
        return command.includes(folder) ? [command.slice(0, 160)] : [];
      } catch {
        return [];
      }
    });
  return {
    mounts: mountinfo.map((line) => line.split(' ')[4] ?? '').sort(),
    namespaces: mountinfo
      .filter((line) => line.includes(' - nsfs '))
      .map((line) => line.split(' ')[4] ?? '')
      .sort(),
    links: inside('ip', ['-o', 'link'])
      .filter((line) => line.includes(`gantry-${instance}:`) || line.includes(`gantry-${instance}/`))
      .map((line) => line.split(': ')[1] ?? '')
      .sort(),
    tables: inside('nft', ['list', 'tables'])
      .filter((line) => line.includes(instance))
      .sort(),
    cgroups: cgroups.sort(),
    processes: processes.sort(),
  };
}

/** What `after` has that `before` had not. Empty when nothing was left behind. */
export function leftBehind(before: KernelState, after: KernelState): Partial<KernelState> {
  const left: Record<string, string[]> = {};
  for (const key of Object.keys(after) as (keyof KernelState)[]) {
    const known = [...before[key]];
    const extra = after[key].filter((item) => {
      const at = known.indexOf(item);
      if (at < 0) return true;
      known.splice(at, 1);
      return false;
    });
    if (extra.length > 0) left[key] = extra;
  }
  return left;
}
