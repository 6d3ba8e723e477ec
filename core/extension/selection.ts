import { notFound, unavailable } from '../contracts/errors.js';
import type { DriverRegistry } from './driver-registry.js';

/** Best first: what shares layers between containers, then what copies them. */
const STORAGE_PRIORITY = ['overlay2', 'btrfs', 'vfs'];

export interface Selection {
  readonly name: string;
  /** For `info`: why this one, and why not those before it. */
  readonly reason: string;
}

/**
 * The storage driver that serves when a container or pull names none. What the user configured wins and must work; else a
 * driver that already keeps snapshots here, so that a restart never hides images; else the best that this host can serve.
 */
export async function selectStorageDriver(
  drivers: Pick<DriverRegistry, 'probe' | 'names'>,
  configured: string,
  /** Whether a driver keeps snapshots from before. */
  hasState: (name: string) => Promise<boolean>,
): Promise<Selection> {
  if (configured !== '') {
    const probe = await drivers.probe('storage', configured);
    if (!probe.ok) {
      if (!drivers.names('storage').includes(configured)) throw notFound('storage driver', `${configured}: ${probe.reason}`);
      throw unavailable(`storage driver ${configured} cannot serve on this host: ${probe.reason}`);
    }
    return { name: configured, reason: 'configured' };
  }
  const known = drivers.names('storage');
  const candidates = STORAGE_PRIORITY.filter((name) => known.includes(name));
  const refused: string[] = [];
  const served: string[] = [];
  for (const name of candidates) {
    const probe = await drivers.probe('storage', name);
    if (!probe.ok) refused.push(`${name}: ${probe.reason}`);
    else if (await hasState(name)) return { name, reason: withRefused('keeps what was stored here before', refused) };
    else served.push(name);
  }
  const [best] = served;
  if (best === undefined) throw unavailable(`no storage driver can serve on this host (${refused.join('; ') || 'this build has none'})`);
  return { name: best, reason: withRefused('the best that this host serves', refused) };
}

const withRefused = (reason: string, refused: readonly string[]): string =>
  refused.length === 0 ? reason : `${reason} (${refused.join('; ')})`;
