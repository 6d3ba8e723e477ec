import type { Resources } from './container.js';
import type { HostFacts } from './host-facts.js';
import type { OciDeviceRule, OciResources } from './oci-spec.js';

export type BlockDevices = ReadonlyMap<string, { readonly major: number; readonly minor: number }>;

const CPU_PERIOD = 100_000;

/** Paths of the block devices that limits name. */
export const limitedDevices = (r: Resources): string[] =>
  [...r.blkioWeightDevice, ...r.blkioDeviceReadBps, ...r.blkioDeviceWriteBps, ...r.blkioDeviceReadIops, ...r.blkioDeviceWriteIops].map(
    (entry) => entry.path,
  );

/**
 * Limits in the specification's terms. What is not set is left out, and so is what this kernel cannot do: the user had a
 * warning at create.
 */
export function ociResources(
  r: Resources,
  facts: HostFacts,
  devices: readonly OciDeviceRule[] | undefined,
  blocks: BlockDevices,
): OciResources {
  const memory: Record<string, number | boolean> = {};
  if (facts.memoryLimit) {
    if (r.memory !== 0) memory['limit'] = r.memory;
    if (r.memoryReservation !== 0) memory['reservation'] = r.memoryReservation;
    if (r.memorySwap !== 0 && facts.swapLimit) memory['swap'] = r.memorySwap;
    if (r.memorySwappiness !== undefined && r.memorySwappiness !== -1 && facts.cgroupVersion === 1)
      memory['swappiness'] = r.memorySwappiness;
    if (r.oomKillDisable === true && facts.oomKillDisable) memory['disableOOMKiller'] = true;
  }
  const cpu: Record<string, number | string> = {};
  if (facts.cpuShares && r.cpuShares !== 0) cpu['shares'] = r.cpuShares;
  if (facts.cpuQuota) {
    if (r.nanoCpus > 0) {
      cpu['period'] = CPU_PERIOD;
      cpu['quota'] = Math.round((r.nanoCpus * CPU_PERIOD) / 1e9);
    }
    if (r.cpuPeriod !== 0) cpu['period'] = r.cpuPeriod;
    if (r.cpuQuota !== 0) cpu['quota'] = r.cpuQuota;
  }
  if (r.cpuRealtimePeriod !== 0) cpu['realtimePeriod'] = r.cpuRealtimePeriod;
  if (r.cpuRealtimeRuntime !== 0) cpu['realtimeRuntime'] = r.cpuRealtimeRuntime;
  if (facts.cpuset) {
    if (r.cpusetCpus !== '') cpu['cpus'] = r.cpusetCpus;
    if (r.cpusetMems !== '') cpu['mems'] = r.cpusetMems;
  }
  const numbers = (path: string): { major: number; minor: number } => blocks.get(path) ?? { major: 0, minor: 0 };
  const throttle = (list: readonly { path: string; rate: number }[]): unknown => list.map(({ path, rate }) => ({ ...numbers(path), rate }));
  const blockIO: Record<string, unknown> = {};
  if (facts.blkioWeight) {
    if (r.blkioWeight !== 0) blockIO['weight'] = r.blkioWeight;
    if (r.blkioWeightDevice.length > 0)
      blockIO['weightDevice'] = r.blkioWeightDevice.map(({ path, weight }) => ({ ...numbers(path), weight }));
  }
  if (r.blkioDeviceReadBps.length > 0) blockIO['throttleReadBpsDevice'] = throttle(r.blkioDeviceReadBps);
  if (r.blkioDeviceWriteBps.length > 0) blockIO['throttleWriteBpsDevice'] = throttle(r.blkioDeviceWriteBps);
  if (r.blkioDeviceReadIops.length > 0) blockIO['throttleReadIOPSDevice'] = throttle(r.blkioDeviceReadIops);
  if (r.blkioDeviceWriteIops.length > 0) blockIO['throttleWriteIOPSDevice'] = throttle(r.blkioDeviceWriteIops);
  return {
    ...(devices ? { devices } : {}),
    ...(Object.keys(memory).length > 0 ? { memory } : {}),
    ...(Object.keys(cpu).length > 0 ? { cpu } : {}),
    // 0 is how clients say "leave it"; -1 is unlimited.
    ...(r.pidsLimit !== undefined && r.pidsLimit !== 0 && facts.pidsLimit ? { pids: { limit: r.pidsLimit } } : {}),
    ...(Object.keys(blockIO).length > 0 ? { blockIO } : {}),
  };
}
