import { totalmem } from 'node:os';
import type { StatsSample } from '../../container/containers.js';
import type { TaskUsage } from '../../contracts/runtime.js';

/** One moment's figures of a container, and when they were taken. */
export interface Measurement {
  readonly sample: StatsSample;
  /** Wall clock, milliseconds. */
  readonly at: number;
}

const ZERO_TIME = '0001-01-01T00:00:00Z';

function cpuJson(measurement: Measurement | undefined): object {
  const usage = measurement?.sample.usage;
  if (!measurement || !usage) {
    return {
      cpu_usage: { total_usage: 0, usage_in_kernelmode: 0, usage_in_usermode: 0 },
      throttling_data: { periods: 0, throttled_periods: 0, throttled_time: 0 },
    };
  }
  return {
    cpu_usage: {
      total_usage: usage.cpuTotalNs,
      ...(usage.cgroupVersion === 1 && usage.cpuPerCoreNs.length > 0 ? { percpu_usage: usage.cpuPerCoreNs } : {}),
      usage_in_kernelmode: usage.cpuKernelNs,
      usage_in_usermode: usage.cpuUserNs,
    },
    system_cpu_usage: measurement.sample.systemCpuNs,
    online_cpus: measurement.sample.onlineCpus,
    throttling_data: { periods: usage.periods, throttled_periods: usage.throttledPeriods, throttled_time: usage.throttledNs },
  };
}

function memoryJson(usage: TaskUsage | undefined): object {
  if (!usage) return {};
  const total = totalmem();
  return {
    usage: usage.memoryUsage,
    ...(usage.cgroupVersion === 1 ? { max_usage: usage.memoryMax } : {}),
    stats: usage.memoryStat,
    // No limit is the machine's.
    limit: usage.memoryLimit > 0 && usage.memoryLimit < total ? usage.memoryLimit : total,
  };
}

function blkioJson(usage: TaskUsage | undefined): object {
  const bytes = usage?.blkio.map(({ major, minor, op, bytes: value }) => ({ major, minor, op, value })) ?? null;
  const ios = usage?.cgroupVersion === 1 ? usage.blkio.map(({ major, minor, op, ios: value }) => ({ major, minor, op, value })) : null;
  return {
    io_service_bytes_recursive: bytes,
    io_serviced_recursive: ios,
    io_queue_recursive: null,
    io_service_time_recursive: null,
    io_wait_time_recursive: null,
    io_merged_recursive: null,
    io_time_recursive: null,
    sectors_recursive: null,
  };
}

/**
 * One object of GET /containers/{name}/stats. Clients compute CPU use from the difference between `cpu_stats` and
 * `precpu_stats`; a container that does not run has zeroes.
 */
export function statsJson(container: { id: string; name: string }, now: Measurement, before: Measurement | undefined): object {
  const { usage, networks } = now.sample;
  const interfaces = Object.entries(networks).map(
    ([name, counters]) =>
      [
        name,
        {
          rx_bytes: counters.rxBytes,
          rx_packets: counters.rxPackets,
          rx_errors: counters.rxErrors,
          rx_dropped: counters.rxDropped,
          tx_bytes: counters.txBytes,
          tx_packets: counters.txPackets,
          tx_errors: counters.txErrors,
          tx_dropped: counters.txDropped,
        },
      ] as const,
  );
  return {
    name: `/${container.name}`,
    id: container.id,
    read: usage ? new Date(now.at).toISOString() : ZERO_TIME,
    preread: before?.sample.usage ? new Date(before.at).toISOString() : ZERO_TIME,
    pids_stats: usage ? { current: usage.pids, ...(usage.pidsLimit > 0 ? { limit: usage.pidsLimit } : {}) } : {},
    blkio_stats: blkioJson(usage),
    num_procs: 0,
    storage_stats: {},
    cpu_stats: cpuJson(now),
    precpu_stats: cpuJson(before),
    memory_stats: memoryJson(usage),
    ...(interfaces.length > 0 ? { networks: Object.fromEntries(interfaces) } : {}),
  };
}
