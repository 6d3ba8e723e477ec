import { readlinkSync } from 'node:fs';
import { EngineError, messageOf } from '@gantry/core/contracts/errors.js';
import type { Host } from '@gantry/core/contracts/host.js';
import { misbehaved } from '../host/answers.js';
import type { Plugin } from '../host/plugin.js';

/** What no plugin has a reason to give away: the system's own files, and other processes' memory. */
const FORBIDDEN = ['/etc', '/proc', '/sys', '/dev', '/boot', '/usr', '/bin', '/sbin', '/lib', '/lib32', '/lib64', '/root'];

/** How long the file system behind a path may take to open it. */
const PATIENCE_MS = 10_000;

/**
 * The folder of this host that a plugin's answer means. It must be a folder, by its last name and not over a link, and none of the
 * system's own or the engine's. What is behind it may hang (a dead file server), so it is opened away from everybody else's work.
 */
export async function hostFolder(plugin: Plugin, method: string, answer: string, host: Host, ownRoots: readonly string[]): Promise<string> {
  const wrong = (why: string): EngineError => misbehaved(plugin.name, method, `the path ${JSON.stringify(answer.slice(0, 300))} ${why}`);
  if (!answer.startsWith('/')) throw wrong('is not absolute');
  if (answer.includes('\0') || answer.split('/').includes('..')) throw wrong('leaves its place');
  const path = plugin.place.hostPath ? plugin.place.hostPath(answer) : answer;
  // A managed plugin's paths are inside its own part of the engine's data.
  const roots = plugin.place.hostPath ? [] : ownRoots;
  refuseSystem(path, roots, wrong);
  const fd = await opened(path, host, wrong);
  try {
    const real = readlinkSync(`/proc/self/fd/${fd}`);
    refuseSystem(real, roots, wrong);
    if (plugin.place.hostPath && real !== path.replace(/\/+$/, '')) throw wrong(`leads over a link to ${real}`);
    return path;
  } finally {
    host.process.closeFd(fd);
  }
}

function refuseSystem(path: string, ownRoots: readonly string[], wrong: (why: string) => EngineError): void {
  const clean = path.replaceAll(/\/+/g, '/').replace(/\/$/, '');
  if (clean === '') throw wrong('is the root of this host');
  for (const folder of [...FORBIDDEN, ...ownRoots]) {
    if (clean === folder || clean.startsWith(`${folder}/`)) throw wrong(`is in ${folder}, which no plugin may hand out`);
    // What holds the engine's own state holds every container's.
    if (ownRoots.includes(folder) && folder.startsWith(`${clean}/`)) throw wrong(`holds ${folder}`);
  }
}

async function opened(path: string, host: Host, wrong: (why: string) => EngineError): Promise<number> {
  const opening = host.files.openRoot(path);
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(wrong(`does not open within ${PATIENCE_MS / 1000} s`)), PATIENCE_MS);
  });
  try {
    return await Promise.race([opening, late]);
  } catch (error) {
    // One that opens after all must not stay open.
    opening.then(
      (fd) => host.process.closeFd(fd),
      () => undefined,
    );
    throw error instanceof EngineError ? error : wrong(`is no folder of this host: ${messageOf(error)}`);
  } finally {
    clearTimeout(timer);
  }
}
