import { readdir, readFile, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { OverlayFacts } from './probe.js';

/** In the driver's root; what a trial found, and what it was found for. */
const NAME = 'probe.json';

const PARAMETERS = '/sys/module/overlay/parameters';

/** All that an answer depends on: another kernel, another module setting, another file system or namespace asks for another trial. */
async function circumstances(root: string, type: string): Promise<string> {
  const names = await readdir(PARAMETERS).catch(() => []);
  const settings = await Promise.all(
    names.toSorted().map(async (name) => `${name}=${(await readFile(join(PARAMETERS, name), 'utf8')).trim()}`),
  );
  return JSON.stringify([
    await readFile('/proc/version', 'utf8'),
    await readFile('/proc/self/uid_map', 'utf8'),
    settings,
    type,
    (await stat(root)).dev,
  ]);
}

/** What an earlier trial found in the same circumstances. */
export async function keptFacts(root: string, type: string): Promise<OverlayFacts | undefined> {
  try {
    const kept = JSON.parse(await readFile(join(root, NAME), 'utf8')) as { circumstances: string; facts: OverlayFacts };
    return kept.circumstances === (await circumstances(root, type)) ? kept.facts : undefined;
  } catch {
    // Absent, torn or not ours to read: a trial tells.
    return undefined;
  }
}

/** Nothing depends on it being on disk, so it is not synced. */
export async function keepFacts(root: string, facts: OverlayFacts, type: string): Promise<void> {
  if (await keptFacts(root, type)) return;
  const fresh = join(root, `${NAME}.new`);
  await writeFile(fresh, JSON.stringify({ circumstances: await circumstances(root, type), facts }), { mode: 0o600 });
  await rename(fresh, join(root, NAME));
}
