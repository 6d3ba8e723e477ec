import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';

export type LoopFileSystem = 'ext4' | 'xfs' | 'btrfs';

/** A file system of its own in a sparse file. */
export interface LoopVolume {
  /** Where it is mounted. */
  readonly path: string;
  /** Whether projects on it can be limited. */
  readonly projectQuota: boolean;
  close(): void;
}

const run = (command: string, ...args: string[]): string | undefined => {
  const { status, stderr, error } = spawnSync(command, args, { encoding: 'utf8' });
  return status === 0 ? undefined : (error?.message ?? stderr.trim().split('\n').at(-1) ?? `${command} ended with ${status}`);
};

const WAYS: Record<LoopFileSystem, readonly { make: readonly string[]; mount: string; projectQuota: boolean }[]> = {
  ext4: [
    { make: ['mkfs.ext4', '-q', '-m', '0', '-O', 'quota,project', '-E', 'quotatype=prjquota'], mount: 'loop,prjquota', projectQuota: true },
    { make: ['mkfs.ext4', '-q', '-m', '0'], mount: 'loop', projectQuota: false },
  ],
  xfs: [
    { make: ['mkfs.xfs', '-q', '-f'], mount: 'loop,prjquota', projectQuota: true },
    { make: ['mkfs.xfs', '-q', '-f'], mount: 'loop', projectQuota: false },
  ],
  btrfs: [{ make: ['mkfs.btrfs', '-q', '-f'], mount: 'loop', projectQuota: false }],
};

/** Makes one, with project quota where the kernel has it; says why not when it cannot. Needs root. */
export function openLoopVolume(type: LoopFileSystem, megabytes = 1024): LoopVolume | string {
  // Not on tmpfs, whose pages would be all of the volume.
  const folder = mkdtempSync(join('/var/tmp', `gantry-loop-${type}-`));
  const image = join(folder, 'image');
  const path = join(folder, 'mounted');
  let reason = 'no way to make one';
  for (const way of WAYS[type]) {
    const [mkfs = '', ...options] = way.make;
    const failed =
      run('truncate', '-s', `${megabytes}M`, image) ??
      run(mkfs, ...options, image) ??
      run('mkdir', '-p', path) ??
      run('mount', '-o', way.mount, image, path);
    if (failed === undefined) {
      return {
        path,
        projectQuota: way.projectQuota,
        close() {
          const left = run('umount', path);
          if (left !== undefined) throw new Error(`the volume ${path} is still in use: ${left}`);
          rmSync(folder, { recursive: true, force: true });
        },
      };
    }
    reason = failed;
    rmSync(image, { force: true });
  }
  rmSync(folder, { recursive: true, force: true });
  return `no ${type} volume: ${reason}`;
}
