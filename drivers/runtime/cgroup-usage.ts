import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { conflict } from '@gantry/core/contracts/errors.js';
import type { TaskUsage } from '@gantry/core/contracts/runtime.js';
import type { Cgroups } from './cgroup.js';

type Blkio = TaskUsage['blkio'][number];

/** Numbers beyond what a double holds exactly mean "no limit" in the kernel's files; Docker's clients expect the largest safe figure or more. */
function number(text: string | undefined): number {
  if (text === undefined) return 0;
  const trimmed = text.trim();
  if (trimmed === 'max') return Number.MAX_SAFE_INTEGER;
  const value = Number(trimmed);
  return Number.isFinite(value) ? value : 0;
}

/** `key value` lines. */
function table(text: string | undefined): Record<string, number> {
  const result: Record<string, number> = Object.create(null) as Record<string, number>;
  for (const line of (text ?? '').split('\n')) {
    const blank = line.indexOf(' ');
    if (blank > 0) result[line.slice(0, blank)] = number(line.slice(blank + 1));
  }
  return result;
}

/** A file that is not there is a controller that is not there, not a failure. */
const read = (folder: string | undefined, name: string): Promise<string | undefined> =>
  folder === undefined ? Promise.resolve(undefined) : readFile(join(folder, name), 'utf8').catch(() => undefined);

export function parseV1Blkio(bytes: string | undefined, ios: string | undefined): Blkio[] {
  const found = new Map<string, { major: number; minor: number; op: string; bytes: number; ios: number }>();
  const add = (text: string | undefined, what: 'bytes' | 'ios'): void => {
    for (const line of (text ?? '').split('\n')) {
      const match = /^(\d+):(\d+) (\w+) (\d+)$/.exec(line);
      if (!match) continue;
      const op = (match[3] ?? '').toLowerCase();
      const key = `${match[1]}:${match[2]} ${op}`;
      const entry = found.get(key) ?? { major: Number(match[1]), minor: Number(match[2]), op, bytes: 0, ios: 0 };
      entry[what] = Number(match[4]);
      found.set(key, entry);
    }
  };
  add(bytes, 'bytes');
  add(ios, 'ios');
  return [...found.values()];
}

export function parseV2Io(text: string | undefined): Blkio[] {
  const result: Blkio[] = [];
  for (const line of (text ?? '').split('\n')) {
    const device = /^(\d+):(\d+) /.exec(line);
    if (!device) continue;
    const of = (key: string): number => Number(new RegExp(` ${key}=(\\d+)`).exec(line)?.[1] ?? 0);
    const [major, minor] = [Number(device[1]), Number(device[2])];
    result.push({ major, minor, op: 'read', bytes: of('rbytes'), ios: of('rios') });
    result.push({ major, minor, op: 'write', bytes: of('wbytes'), ios: of('wios') });
  }
  return result;
}

async function readV1(folders: ReadonlyMap<string, string>): Promise<TaskUsage> {
  const cpuacct = folders.get('cpuacct');
  const memory = folders.get('memory');
  const cpu = folders.get('cpu');
  const pids = folders.get('pids');
  const blkio = folders.get('blkio');
  const [usage, split, perCore, throttle, used, max, limit, stat, processes, processLimit, bytes, ios] = await Promise.all([
    read(cpuacct, 'cpuacct.usage'),
    read(cpuacct, 'cpuacct.usage_all'),
    read(cpuacct, 'cpuacct.usage_percpu'),
    read(cpu, 'cpu.stat'),
    read(memory, 'memory.usage_in_bytes'),
    read(memory, 'memory.max_usage_in_bytes'),
    read(memory, 'memory.limit_in_bytes'),
    read(memory, 'memory.stat'),
    read(pids, 'pids.current'),
    read(pids, 'pids.max'),
    read(blkio, 'blkio.throttle.io_service_bytes_recursive'),
    read(blkio, 'blkio.throttle.io_serviced_recursive'),
  ]);
  if (usage === undefined && used === undefined && processes === undefined) throw conflict('the container is not running');
  const throttled = table(throttle);
  let user = 0;
  let kernel = 0;
  for (const line of (split ?? '').split('\n').slice(1)) {
    const [, u, k] = line.split(' ');
    user += number(u);
    kernel += number(k);
  }
  return {
    cgroupVersion: 1,
    readAt: Date.now(),
    cpuTotalNs: number(usage),
    cpuUserNs: user,
    cpuKernelNs: kernel,
    cpuPerCoreNs: (perCore ?? '').trim().split(' ').filter(Boolean).map(number),
    throttledPeriods: throttled['nr_throttled'] ?? 0,
    periods: throttled['nr_periods'] ?? 0,
    throttledNs: throttled['throttled_time'] ?? 0,
    memoryUsage: number(used),
    memoryMax: number(max),
    memoryLimit: number(limit),
    memoryStat: table(stat),
    pids: number(processes),
    pidsLimit: number(processLimit),
    blkio: parseV1Blkio(bytes, ios),
  };
}

async function readV2(folder: string): Promise<TaskUsage> {
  const [cpu, used, peak, limit, stat, processes, processLimit, io] = await Promise.all(
    ['cpu.stat', 'memory.current', 'memory.peak', 'memory.max', 'memory.stat', 'pids.current', 'pids.max', 'io.stat'].map((name) =>
      read(folder, name),
    ),
  );
  if (cpu === undefined) throw conflict('the container is not running');
  const times = table(cpu);
  const microseconds = (key: string): number => (times[key] ?? 0) * 1000;
  return {
    cgroupVersion: 2,
    readAt: Date.now(),
    cpuTotalNs: microseconds('usage_usec'),
    cpuUserNs: microseconds('user_usec'),
    cpuKernelNs: microseconds('system_usec'),
    cpuPerCoreNs: [],
    throttledPeriods: times['nr_throttled'] ?? 0,
    periods: times['nr_periods'] ?? 0,
    throttledNs: microseconds('throttled_usec'),
    memoryUsage: number(used),
    memoryMax: number(peak),
    memoryLimit: number(limit),
    memoryStat: table(stat),
    pids: number(processes),
    pidsLimit: number(processLimit),
    blkio: parseV2Io(io),
  };
}

/** One reading of all figures. Fails with `conflict` when the cgroup is gone. */
export const readUsage = (cgroups: Cgroups): Promise<TaskUsage> =>
  cgroups.version === 1 ? readV1(cgroups.folders) : readV2(cgroups.folder);
