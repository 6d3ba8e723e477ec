import { mkdir, rmdir } from 'node:fs/promises';
import { Socket } from 'node:net';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { snapshotId } from '@gantry/core/contracts/ids.js';
import type { DriverEnv } from '@gantry/core/contracts/manifest.js';
import type { Change, StorageDriver } from '@gantry/core/contracts/storage.js';
import type { NewLayer, StoragePlugin } from '../sdk/server/storage.js';

/** An in-tree storage driver behind the graph driver protocol, where the plugin mounts and the engine is told where. */
export class ServedStorage implements StoragePlugin {
  /** Mounts by layer, with how often each was asked for. */
  private readonly mounted = new Map<string, { place: string; count: number; ready: Promise<void> }>();

  constructor(
    private readonly driver: StorageDriver,
    private readonly env: DriverEnv,
  ) {}

  /** The driver was opened with its own folder when the program started. */
  init(): void {}

  async create(id: string, { parent, writable, options }: NewLayer): Promise<void> {
    const { size } = options;
    await this.driver.create(snapshotId(id), {
      writable,
      ...(parent === undefined ? {} : { parent: snapshotId(parent) }),
      ...(size === undefined ? {} : { quota: Number(size) }),
    });
  }

  remove(id: string): Promise<void> {
    return this.driver.remove(snapshotId(id));
  }

  exists(id: string): Promise<boolean> {
    return this.driver.exists(snapshotId(id));
  }

  async mount(id: string): Promise<string> {
    let mounted = this.mounted.get(id);
    if (mounted) mounted.count++;
    else {
      const place = join(this.env.runRoot, 'mounted', id);
      mounted = { place, count: 1, ready: this.mountAt(id, place) };
      this.mounted.set(id, mounted);
    }
    try {
      await mounted.ready;
    } catch (error) {
      if (--mounted.count === 0) this.mounted.delete(id);
      throw error;
    }
    return mounted.place;
  }

  async unmount(id: string): Promise<void> {
    const mounted = this.mounted.get(id);
    if (!mounted || --mounted.count > 0) return;
    this.mounted.delete(id);
    await this.env.host.files.unmount(mounted.place);
    await rmdir(mounted.place);
    await this.driver.release(snapshotId(id));
  }

  async applyDiff(id: string, parent: string | undefined, archive: Readable): Promise<number> {
    const { process } = this.env.host;
    const [readEnd, writeEnd] = process.pipe();
    const feeding = pipeline(archive, new Socket({ fd: writeEnd, readable: false, writable: true }));
    try {
      const { size } = await this.driver.applyDiff(snapshotId(id), parent === undefined ? undefined : snapshotId(parent), { fd: readEnd });
      await feeding;
      return size;
    } finally {
      process.closeFd(readEnd);
      // Of an archive that was refused, the rest is not read by anybody.
      await feeding.catch(() => undefined);
    }
  }

  diff(id: string, parent: string | undefined): Promise<Readable> {
    return this.driver.diff(snapshotId(id), parent === undefined ? undefined : snapshotId(parent));
  }

  changes(id: string, parent: string | undefined): Promise<Change[]> {
    return this.driver.changes(snapshotId(id), parent === undefined ? undefined : snapshotId(parent));
  }

  size(id: string): Promise<number> {
    return this.driver.usage(snapshotId(id));
  }

  status(): Promise<[string, string][]> {
    return this.driver.status();
  }

  metadata(id: string): Promise<Record<string, string>> {
    return this.driver.metadata(snapshotId(id));
  }

  /** Mounts stay: what containers use outlives this program, and is found again. */
  close(): Promise<void> {
    return this.driver.close();
  }

  private async mountAt(id: string, place: string): Promise<void> {
    const mounts = await this.driver.acquire(snapshotId(id));
    await mkdir(place, { recursive: true, mode: 0o700 });
    const { files } = this.env.host;
    // Of the life before this one.
    if (files.mountsBelow(place).some(({ target }) => target === place)) return;
    try {
      for (const mount of mounts) await files.mount(mount, place);
    } catch (error) {
      await this.driver.release(snapshotId(id));
      throw error;
    }
  }
}
