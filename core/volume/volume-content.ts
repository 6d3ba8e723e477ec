import { readdir } from 'node:fs/promises';
import { Socket } from 'node:net';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { feed } from '../content/feed.js';
import { EngineError } from '../contracts/errors.js';
import type { Host } from '../contracts/host.js';
import { newId } from '../contracts/ids.js';
import type { VolumeArchive } from '../contracts/volume.js';
import type { OpenDriver } from '../extension/driver-registry.js';

type Driver = OpenDriver<'volume'>;

/** What the engine does with the files in volumes, whatever their driver: by the driver's own verb where it has one, else on what it mounts. */
export class VolumeContent {
  constructor(private readonly host: Host) {}

  /** Mounts a volume for `work` alone. */
  async within<T>({ driver, name: driverName }: Driver, name: string, work: (path: string) => Promise<T>): Promise<T> {
    const user = newId();
    const path = checkedPath(await driver.mount(name, user), driverName, name);
    try {
      return await work(path);
    } finally {
      await driver.unmount(name, user);
    }
  }

  /** Fills a volume that was just made from another one of the same driver. */
  copy(driver: Driver, from: string, to: string): Promise<void> {
    return this.within(driver, from, (source) => this.within(driver, to, (target) => this.host.files.copyTree(source, target)));
  }

  async isEmpty(path: string): Promise<boolean> {
    return (await readdir(path)).length === 0;
  }

  /** Removes all that is in a folder. Nobody else may be at work in it. */
  async empty(path: string): Promise<void> {
    for (const name of await readdir(path)) await this.host.files.removeTree(join(path, name));
  }

  /** The content as a tar. The volume stays mounted until `done`, which comes after the last byte was taken or the reader left. */
  export(open: Driver, name: string): { content: Readable; done: Promise<void> } {
    const { files, process } = this.host;
    const [readEnd, writeEnd] = process.pipe();
    const content = new Socket({ fd: readEnd, readable: true, writable: false });
    const work = open.has('volume-archive')
      ? (open.driver as unknown as VolumeArchive).export(name, writeEnd)
      : this.within(open, name, async (path) => {
          const rootFd = await files.openRoot(path);
          try {
            await files.packPath({ rootFd, path: '/', fd: writeEnd, rename: '.' });
          } finally {
            process.closeFd(rootFd);
          }
        });
    const done = work.then(
      () => process.closeFd(writeEnd),
      (error: unknown) => {
        // First the error, or the reader would take the closed pipe for the archive's end.
        content.destroy(error instanceof Error ? error : new Error(String(error)));
        process.closeFd(writeEnd);
      },
    );
    return { content, done };
  }

  /** Fills an empty volume from a tar. */
  async import(open: Driver, name: string, archive: Readable): Promise<void> {
    const { files, process } = this.host;
    await feed(this.host, archive, (fd) =>
      open.has('volume-archive')
        ? (open.driver as unknown as VolumeArchive).import(name, fd)
        : this.within(open, name, async (path) => {
            const rootFd = await files.openRoot(path);
            try {
              await files.unpackInto({ rootFd, path: '/', fd, noOverwriteDirNonDir: false });
            } finally {
              process.closeFd(rootFd);
            }
          }),
    );
  }
}

/** A driver's answer where a path belongs is not believed to be one. */
export function checkedPath(path: string, driver: string, name: string): string {
  if (path.startsWith('/') && !path.includes('\0') && !path.split('/').includes('..')) return path;
  throw new EngineError('system', `volume driver ${driver} gave no absolute path for ${name}`);
}
