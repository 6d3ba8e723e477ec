import { existsSync } from 'node:fs';
import { EngineError, unavailable } from '@gantry/core/contracts/errors.js';
import type { HostProcess } from '@gantry/core/contracts/host-process.js';
import type { PoolFileSystem } from './settings.js';

const FOLDERS = ['/usr/sbin', '/sbin', '/usr/bin', '/bin'];

/** Where the program is that makes such a file system; nothing when this host has none. */
export const findMkfs = (type: PoolFileSystem): string | undefined =>
  FOLDERS.map((folder) => `${folder}/mkfs.${type}`).find((path) => existsSync(path));

/** What every mount of such a file system needs: snapshots share their uuid, and nobody fills tables that a pool need not keep. */
export const mountOptionsOf = (type: PoolFileSystem): readonly string[] => (type === 'xfs' ? ['nouuid'] : ['noinit_itable']);

/** Makes the one file system that all snapshots begin with. */
export async function makeFileSystem(process: HostProcess, type: PoolFileSystem, node: string, own: readonly string[]): Promise<void> {
  const path = findMkfs(type);
  if (path === undefined) throw unavailable(`mkfs.${type} is not installed`);
  const args = type === 'xfs' ? ['-q', '-f', '-K'] : ['-q', '-F', '-E', 'nodiscard,lazy_itable_init=1,lazy_journal_init=1'];
  const { code, stderr } = await process.run({
    path,
    args: [path, ...args, ...own, node],
    env: [`PATH=${FOLDERS.join(':')}`],
    limit: 1 << 16,
  });
  if (code !== 0) throw new EngineError('system', `mkfs.${type} ended with ${code}: ${stderr.toString().trim()}`);
}
