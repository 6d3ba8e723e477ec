import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { invalid, messageOf } from '@gantry/core/contracts/errors.js';
import type { DriverManifest } from '@gantry/core/contracts/manifest.js';
import type { DefaultPool } from '../choose-pool.js';
import { DefaultIpam, dockerPools } from './driver.js';
import { LeaseStore } from './lease-store.js';
import { parseRange } from '../ranges.js';
import { drawUniqueLocal } from '../unique-local.js';

/**
 * Option `default-address-pools`: JSON as in daemon.json, `[{"base":"10.10.0.0/16","size":24}]`; what networks without a
 * subnet of their own get. Absent or empty: 172.17.0.0/16 to 172.31.0.0/16, then 192.168.0.0/16 in blocks of /20. Where the
 * list has nothing for IPv6: blocks of /64 of a unique local /48 (RFC 4193) that is drawn once for this root.
 */
export const defaultIpam: DriverManifest<'ipam'> = {
  kind: 'ipam',
  name: 'default',
  capabilities: ['lease-audit'],
  probe: async () => ({ ok: true }),
  open: async (env) => {
    const configured = parsePools(env.options['default-address-pools'] ?? '');
    const pools = configured.some(({ base }) => base.v6)
      ? configured
      : [...configured, { base: parseRange(uniqueLocalPrefix(join(env.root, 'ula-prefix'))), size: 64 }];
    const driver = new DefaultIpam(LeaseStore.open(join(env.root, 'leases.db')), pools);
    driver.load();
    return driver;
  },
};

function uniqueLocalPrefix(path: string): string {
  try {
    const kept = readFileSync(path, 'utf8').trim();
    if (/^fd[0-9a-f]{2}:[0-9a-f]{1,4}:[0-9a-f]{1,4}::\/48$/.test(kept)) return kept;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  const prefix = drawUniqueLocal();
  // Pools are kept by themselves, so a prefix that is lost in a crash only changes what later networks get.
  writeFileSync(path, `${prefix}\n`, { mode: 0o600 });
  return prefix;
}

export function parsePools(json: string): readonly DefaultPool[] {
  if (json === '') return dockerPools;
  let list: unknown;
  try {
    list = JSON.parse(json);
  } catch (error) {
    throw invalid(`invalid default-address-pools: ${messageOf(error)}`, error);
  }
  if (!Array.isArray(list)) throw invalid('invalid default-address-pools: not a list');
  if (list.length === 0) return dockerPools;
  return list.map((entry: unknown) => {
    const { base, size } = Object(entry) as Record<string, unknown>;
    if (typeof base !== 'string' || typeof size !== 'number') throw invalid('invalid default-address-pools: an entry needs base and size');
    const range = parseRange(base);
    if (!Number.isInteger(size) || size < range.prefix || size > (range.v6 ? 128 : 32) || size - range.prefix > 24)
      throw invalid(`invalid default-address-pools: size ${size} for base ${base}`);
    return { base: range, size };
  });
}
