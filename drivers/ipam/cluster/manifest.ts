import { invalid } from '@gantry/core/contracts/errors.js';
import type { DriverManifest } from '@gantry/core/contracts/manifest.js';
import type { DefaultPool } from '../choose-pool.js';
import { parseRange } from '../ranges.js';
import { ClusterIpam } from './driver.js';

/** Options `base` and `size`: networks without a subnet of their own get blocks of prefix length `size` of `base`; 10.0.0.0/8 and 24. */
export const clusterIpam: DriverManifest<'ipam'> = {
  kind: 'ipam',
  name: 'cluster',
  capabilities: ['lease-audit'],
  probe: async ({ cluster }) => (cluster ? { ok: true } : { ok: false, reason: 'it needs a cluster store (gantryd --cluster-store)' }),
  open: async ({ cluster, options }) => {
    if (!cluster) throw invalid('the cluster IPAM driver needs a cluster store');
    return new ClusterIpam(cluster, [readPool(options)]);
  },
};

function readPool(options: Readonly<Record<string, string>>): DefaultPool {
  for (const key of Object.keys(options))
    if (key !== 'base' && key !== 'size') throw invalid(`unknown option of the cluster IPAM driver: ipam.${key}`);
  const base = parseRange(options['base'] ?? '10.0.0.0/8');
  const size = Number(options['size'] ?? '24');
  if (!Number.isInteger(size) || size < base.prefix || size > (base.v6 ? 128 : 32) || size - base.prefix > 24)
    throw invalid(`invalid ipam.size: ${JSON.stringify(options['size']?.slice(0, 64))}`);
  return { base, size };
}
