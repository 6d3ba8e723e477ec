import { readFile } from 'node:fs/promises';
import type { Container } from './container.js';
import type { StatsSample } from './containers.js';
import type { ContainerRoom } from './room.js';

/** What /proc/stat counts in, by POSIX' CLK_TCK, which Linux never changes for user space. */
const NANOSECONDS_PER_TICK = 10_000_000;

/** One sample of a container's use; without usage when it does not run. */
export async function sample(room: ContainerRoom, container: Container): Promise<StatsSample> {
  const live = room.live.get(container.id);
  const [usage, host, networks] = await Promise.all([
    // It may end at this moment, which is no error for a client that watches.
    live?.task.usage().catch(() => undefined),
    hostCpu(),
    live ? room.networks.counters(container.id).catch(() => ({})) : {},
  ]);
  return { usage, systemCpuNs: host.total, onlineCpus: host.online, networks };
}

async function hostCpu(): Promise<{ total: number; online: number }> {
  const text = await readFile('/proc/stat', 'utf8');
  // user nice system idle iowait irq softirq steal; guest times are in user already.
  const ticks = (/^cpu\s+(.*)$/m.exec(text)?.[1] ?? '')
    .split(' ')
    .slice(0, 8)
    .reduce((sum, field) => sum + Number(field), 0);
  return { total: ticks * NANOSECONDS_PER_TICK, online: text.match(/^cpu\d+ /gm)?.length ?? 1 };
}
