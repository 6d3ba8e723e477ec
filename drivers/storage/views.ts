import { randomBytes } from 'node:crypto';
import { mkdir, readdir, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf } from '@gantry/core/contracts/errors.js';
import type { DriverEnv } from '@gantry/core/contracts/manifest.js';
import type { Mount } from '@gantry/core/contracts/mount.js';

const PREFIX = 'view-';

/** Snapshots that are mounted for a moment, to be compared: `view-X` in the driver's run-time folder. */
export class Views {
  private readonly inUse = new Set<string>();

  constructor(private readonly env: DriverEnv) {}

  async shown<T>(mount: Mount, work: (path: string) => Promise<T>): Promise<T> {
    await this.removeLeft();
    const name = `${PREFIX}${randomBytes(6).toString('hex')}`;
    const place = join(this.env.runRoot, name);
    this.inUse.add(name);
    try {
      await mkdir(place, { mode: 0o700 });
      await this.env.host.files.mount(mount, place);
      return await work(place);
    } finally {
      await this.remove(name);
      // Only now, or somebody else would take it for left and take it down at the same time.
      this.inUse.delete(name);
    }
  }

  /** What a daemon left that died meanwhile, or that could not be unmounted then. */
  async removeLeft(): Promise<void> {
    for (const name of await readdir(this.env.runRoot)) {
      if (!name.startsWith(PREFIX) || this.inUse.has(name)) continue;
      this.env.log.warn('a view of a snapshot that nobody looks at any more is taken down', { place: join(this.env.runRoot, name) });
      await this.remove(name);
    }
  }

  private async remove(name: string): Promise<void> {
    const place = join(this.env.runRoot, name);
    try {
      await this.env.host.files.unmount(place, true);
      await rmdir(place);
    } catch (error) {
      // The work is done; the next one tries again.
      this.env.log.warn('a view of a snapshot was not taken down', { place, error: messageOf(error) });
    }
  }
}
