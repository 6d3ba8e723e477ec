import { invalid } from '@gantry/core/contracts/errors.js';
import type { DriverManifest } from '@gantry/core/contracts/manifest.js';
import type { DefaultPool } from '../choose-pool.js';
import { parseRange } from '../ranges.js';
import { ClusterIpam } from './driver.js';

/**
 * Options `base` and `size`: networks without a subnet of their own get blocks of prefix length `size` of `base`; 10.0.0.0/8 and 24.
 * `base6` and `size6` are the same for IPv6; without them blocks of /64 of a unique local /48 that is drawn once for the cluster.
 */
export const clusterIpam: DriverManifest<'ipam'> = {
  kind: 'ipam',
  name: 'cluster',
  capabilities: ['lease-audit'],
  probe: async ({ cluster }) => (cluster ? { ok: true } : { ok: false, reason: 'it needs a cluster store (gantryd --cluster-store)' }),
  open: async ({ cluster, options }) => {
    if (!cluster) throw invalid('the cluster IPAM driver needs a cluster store');
    return new ClusterIpam(cluster, readPools(options));
  },
};

const KNOWN = ['base', 'size', 'base6', 'size6'];

function readPools(options: Readonly<Record<string, string>>): DefaultPool[] {
  for (const key of Object.keys(options)) if (!KNOWN.includes(key)) throw invalid(`unknown option of the cluster IPAM driver: ipam.${key}`);
  const v4 = readPool(options, '', '10.0.0.0/8', '24');
  if (options['base6'] !== undefined) return [v4, readPool(options, '6', '', '64')];
  if (options['size6'] !== undefined) throw invalid('ipam.size6 needs ipam.base6');
  return [v4];
}

function readPool(options: Readonly<Record<string, string>>, suffix: '' | '6', usualBase: string, usualSize: string): DefaultPool {
  const v6 = suffix === '6';
  const base = parseRange(options[`base${suffix}`] ?? usualBase);
  if (base.v6 !== v6) throw invalid(`invalid ipam.base${suffix}: it is for IPv${v6 ? 6 : 4}`);
  const written = options[`size${suffix}`] ?? usualSize;
  const size = Number(written);
  if (!Number.isInteger(size) || size < base.prefix || size > (v6 ? 128 : 32) || size - base.prefix > 24)
    throw invalid(`invalid ipam.size${suffix}: ${JSON.stringify(written.slice(0, 64))}`);
  return { base, size };
}
