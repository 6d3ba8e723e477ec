import { readFileSync } from 'node:fs';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf, unavailable } from '@gantry/core/contracts/errors.js';
import type { HostProcess } from '@gantry/core/contracts/host-process.js';

const MOUNT = '/sys/fs/cgroup';

/** Where a container is in the cgroup hierarchies: folders, by controller for v1. */
export type Cgroups =
  | { readonly version: 2; readonly folder: string }
  | { readonly version: 1; readonly folders: ReadonlyMap<string, string> };

/** Of the text of /proc/PID/cgroup. Where v1 has the memory controller (alone or hybrid) v1 is what limits a container. */
export function parseCgroups(text: string): Cgroups | undefined {
  const folders = new Map<string, string>();
  let unified: string | undefined;
  for (const line of text.split('\n')) {
    const match = /^(\d+):([^:]*):(\/.*)$/.exec(line);
    const [, hierarchy, controllers, path] = match ?? [];
    if (path === undefined || controllers === undefined) continue;
    if (hierarchy === '0' && controllers === '') unified = path;
    // The hierarchy's folder has the name of one controller even where several are mounted together.
    else for (const controller of controllers.split(',')) folders.set(controller, join(MOUNT, controller, path));
  }
  if (folders.has('memory') || (folders.size > 0 && unified === undefined)) return { version: 1, folders };
  // The root is nobody's container; its folder must never be killed or read as one.
  if (unified === undefined || unified === '/') return undefined;
  return { version: 2, folder: join(MOUNT, unified) };
}

/** `folder` is `other` or above it. */
const holds = (folder: string, other: string): boolean => other === folder || other.startsWith(`${folder}/`);

/**
 * What of `found` is apart from `own`: a folder that holds this very process is nobody's container, and ending all that is in
 * it would end the daemon.
 */
export function apart(found: Cgroups | undefined, own: Cgroups | undefined): Cgroups | undefined {
  if (!found) return undefined;
  if (found.version === 2) return own?.version === 2 && holds(found.folder, own.folder) ? undefined : found;
  const folders = new Map(found.folders);
  for (const [controller, folder] of found.folders) {
    const ours = own?.version === 1 ? own.folders.get(controller) : undefined;
    if (ours !== undefined && holds(folder, ours)) folders.delete(controller);
  }
  return { version: 1, folders };
}

export function cgroupsOf(pid: number): Cgroups | undefined {
  try {
    const of = (who: string): Cgroups | undefined => parseCgroups(readFileSync(`/proc/${who}/cgroup`, 'utf8'));
    return apart(of(String(pid)), of('self'));
  } catch {
    return undefined;
  }
}

/** The folder that all processes of the container are in, and whether it is the container's alone. */
function processFolder(cgroups: Cgroups): string | undefined {
  if (cgroups.version === 2) return cgroups.folder;
  for (const controller of ['freezer', 'pids', 'memory', 'devices']) {
    const folder = cgroups.folders.get(controller);
    if (folder !== undefined && folder !== join(MOUNT, controller)) return folder;
  }
  return undefined;
}

async function pidsBelow(folder: string): Promise<number[]> {
  let text: string;
  try {
    text = await readFile(join(folder, 'cgroup.procs'), 'utf8');
  } catch {
    return [];
  }
  const pids = text.split('\n').flatMap((line) => (line === '' ? [] : [Number(line)]));
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
  for (const entry of entries) if (entry.isDirectory()) pids.push(...(await pidsBelow(join(folder, entry.name))));
  return pids;
}

/** Pids in the host's namespace, cgroups below the container's own included. */
export async function pidsOf(cgroups: Cgroups): Promise<number[]> {
  const folder = processFolder(cgroups);
  return folder === undefined ? [] : (await pidsBelow(folder)).filter((pid) => pid > 0);
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

const ROUNDS = 100;

/**
 * Ends everything in the container's cgroup and waits until it is empty. With v2 the kernel does it at once; with v1 the
 * cgroup is frozen so that nothing forks away between reading the list and killing what is on it.
 */
export async function killCgroup(cgroups: Cgroups, host: HostProcess): Promise<void> {
  const folder = processFolder(cgroups);
  if (folder === undefined) return;
  for (let round = 0; round < ROUNDS; ++round) {
    const pids = await pidsBelow(folder);
    if (pids.length === 0) return;
    if (cgroups.version === 2) {
      await writeFile(join(folder, 'cgroup.kill'), '1').catch(() => killEach(pids, host));
      await writeFile(join(folder, 'cgroup.freeze'), '0').catch(() => undefined);
    } else {
      await killFrozen(cgroups, folder, host);
    }
    await sleep(Math.min(2 + round, 50));
  }
  throw unavailable(`processes in ${folder} do not end`);
}

function killEach(pids: readonly number[], host: HostProcess): void {
  for (const pid of pids) {
    const start = host.startTime(pid);
    if (start !== undefined) host.signal(pid, start, 9);
  }
}

async function killFrozen(cgroups: Cgroups & { version: 1 }, folder: string, host: HostProcess): Promise<void> {
  const freezer = cgroups.folders.get('freezer');
  const freeze = async (state: string): Promise<void> => {
    if (freezer === undefined || freezer === join(MOUNT, 'freezer')) return;
    await writeFile(join(freezer, 'freezer.state'), state).catch((error: unknown) => {
      // Already removed with the container.
      if (!messageOf(error).includes('ENOENT') && !messageOf(error).includes('ENODEV')) throw error;
    });
  };
  await freeze('FROZEN');
  try {
    killEach(await pidsBelow(folder), host);
  } finally {
    await freeze('THAWED');
  }
}
