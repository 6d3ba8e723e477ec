import type { ListShape, Row } from './list.js';
import { binarySize, humanSize, shortId } from './units.js';

/** One sample of what a container uses, as the engine sends it. */
export interface StatsSample {
  id?: string;
  name?: string;
  read?: string;
  cpu_stats?: CpuSample;
  precpu_stats?: CpuSample;
  memory_stats?: { usage?: number; limit?: number; stats?: Record<string, number> };
  blkio_stats?: { io_service_bytes_recursive?: { op: string; value: number }[] | null };
  networks?: Record<string, { rx_bytes: number; tx_bytes: number }>;
  pids_stats?: { current?: number };
}

interface CpuSample {
  cpu_usage?: { total_usage?: number; percpu_usage?: number[] | null };
  system_cpu_usage?: number;
  online_cpus?: number;
}

export const statsShape = (withName: boolean): ListShape => ({
  headings: {
    Container: 'CONTAINER',
    ID: 'CONTAINER ID',
    Name: 'NAME',
    CPUPerc: 'CPU %',
    MemUsage: 'MEM USAGE / LIMIT',
    MemPerc: 'MEM %',
    NetIO: 'NET I/O',
    BlockIO: 'BLOCK I/O',
    PIDs: 'PIDS',
  },
  table: `{{.ID}}\t${withName ? '{{.Name}}\t' : ''}{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}`,
  quiet: '{{.ID}}',
});

/** A line of the table; dashes where there is no sample yet. */
export const statsRow = (asked: string, sample: StatsSample | undefined, whole: boolean): Row => {
  const id = sample?.id ?? asked;
  const names = { Container: asked, ID: whole ? id : shortId(id), Name: sample?.name ? sample.name.replace(/^\//, '') : '--' };
  if (!sample?.cpu_stats) return { ...names, CPUPerc: '--', MemUsage: '-- / --', MemPerc: '--', NetIO: '--', BlockIO: '--', PIDs: '--' };
  const used = memoryUsed(sample);
  const limit = sample.memory_stats?.limit ?? 0;
  const networks = Object.values(sample.networks ?? {});
  const received = networks.reduce((sum, each) => sum + each.rx_bytes, 0);
  const sent = networks.reduce((sum, each) => sum + each.tx_bytes, 0);
  const blocks = sample.blkio_stats?.io_service_bytes_recursive ?? [];
  const moved = (kind: string): number =>
    blocks.filter((each) => each.op.toLowerCase().startsWith(kind)).reduce((sum, each) => sum + each.value, 0);
  return {
    ...names,
    CPUPerc: `${percent(cpuPercent(sample))}%`,
    MemUsage: `${binarySize(used)} / ${binarySize(limit)}`,
    MemPerc: `${percent(limit > 0 ? (used / limit) * 100 : 0)}%`,
    NetIO: `${humanSize(received, 3)} / ${humanSize(sent, 3)}`,
    BlockIO: `${humanSize(moved('r'), 3)} / ${humanSize(moved('w'), 3)}`,
    PIDs: String(sample.pids_stats?.current ?? 0),
  };
};

/** A page cache that the kernel would give back at once is not counted as use. */
const memoryUsed = ({ memory_stats: memory }: StatsSample): number => {
  const usage = memory?.usage ?? 0;
  const cache = memory?.stats?.['total_inactive_file'] ?? memory?.stats?.['inactive_file'] ?? 0;
  return cache < usage ? usage - cache : usage;
};

const cpuPercent = ({ cpu_stats: now, precpu_stats: before }: StatsSample): number => {
  const used = (now?.cpu_usage?.total_usage ?? 0) - (before?.cpu_usage?.total_usage ?? 0);
  const passed = (now?.system_cpu_usage ?? 0) - (before?.system_cpu_usage ?? 0);
  const cpus = now?.online_cpus || now?.cpu_usage?.percpu_usage?.length || 0;
  return passed > 0 && used > 0 ? (used / passed) * cpus * 100 : 0;
};

/** Two decimals, and of two that are as near the even one, which is how C and Go round. */
const percent = (value: number): string => {
  const scaled = value * 100;
  const floor = Math.floor(scaled);
  return scaled - floor === 0.5 ? ((floor % 2 === 0 ? floor : floor + 1) / 100).toFixed(2) : value.toFixed(2);
};
