import { createHash } from 'node:crypto';
import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { Host } from '@gantry/core/contracts/host.js';
import type { HostFiles } from '@gantry/core/contracts/host-files.js';
import { snapshotId, type SnapshotId } from '@gantry/core/contracts/ids.js';
import type { Capability } from '@gantry/core/contracts/manifest.js';
import type { AppliedLayer, StorageDriver } from '@gantry/core/contracts/storage.js';
import { archive, type ArchiveEntry } from '../archive.js';
import { describeTree } from '../tree.js';

/** A driver under test: each `open` on the same folder is another start of the daemon. */
export interface StorageUnderTest {
  /** What the driver declares and this host and file system can keep. */
  readonly capabilities: readonly Capability[];
  readonly host: Host;
  /** Bytes of the smallest quota that the driver takes; any when absent. */
  readonly leastQuota?: number;
  /** Where the drivers' folders are made, on the file system to be tested; it is left as it was. /tmp when absent. */
  readonly folder?: string;
  /** A driver that works through `host` lets its calls be failed on purpose; another ignores it. */
  open(root: string, host: Host): Promise<StorageDriver>;
}

/** The id that a word of a test stands for. */
export const id = (word: string): SnapshotId => snapshotId(createHash('sha256').update(word).digest('hex'));

export const BASE: ArchiveEntry[] = [
  { path: 'etc/' },
  { path: 'etc/passwd', content: 'root:x:0:0\n' },
  { path: 'etc/opt/' },
  { path: 'etc/opt/one', content: '1' },
  { path: 'etc/opt/two', content: '22' },
  { path: 'bin/', mode: 0o755 },
  { path: 'bin/su', content: 'su', mode: 0o4755 },
  { path: 'bin/sudo', type: '1', link: 'bin/su' },
  { path: 'lib', type: '2', link: 'usr/lib' },
  { path: 'data/', uid: 1000, gid: 100, mode: 0o2770 },
  { path: 'data/file', content: 'data', uid: 1000, gid: 100 },
];

/** One test's driver, in a folder of its own. */
export class StorageTrial {
  private opened: StorageDriver | undefined;
  root = '';

  constructor(
    private readonly name: string,
    readonly under: StorageUnderTest,
  ) {}

  get driver(): StorageDriver {
    if (!this.opened) throw new Error('the trial is not open');
    return this.opened;
  }

  get files(): HostFiles {
    return this.under.host.files;
  }

  async open(host = this.under.host): Promise<void> {
    this.root = mkdtempSync(join(this.under.folder ?? '/tmp', `storage-${this.name}-`));
    mkdirSync(join(this.root, 'driver'));
    this.opened = await this.under.open(join(this.root, 'driver'), host);
  }

  /** As after the death of a daemon: nobody closed the driver before. */
  async restart(): Promise<void> {
    this.opened = await this.under.open(join(this.root, 'driver'), this.under.host);
  }

  /** Nothing is left, whatever the test did. */
  async close(): Promise<void> {
    for (const { target } of this.files.mountsBelow(this.root)) await this.files.unmount(target, true);
    await this.driver.close();
    // Forgets what was acquired.
    await this.restart();
    for (const snapshot of await this.driver.list()) await this.driver.remove(snapshot);
    await this.driver.close();
    rmSync(this.root, { recursive: true, force: true });
  }

  apply(snapshot: SnapshotId, parent: SnapshotId | undefined, bytes: Buffer): Promise<AppliedLayer> {
    return this.applyFrom(snapshot, parent, bytes, this.root);
  }

  /** From a file in `folder`, which may be on another file system than the driver. */
  async applyFrom(snapshot: SnapshotId, parent: SnapshotId | undefined, bytes: Buffer, folder: string): Promise<AppliedLayer> {
    const path = join(folder, `${basename(this.root)}-layer-${snapshot}`);
    writeFileSync(path, bytes);
    const fd = openSync(path, 'r');
    try {
      return await this.driver.applyDiff(snapshot, parent, { fd });
    } finally {
      closeSync(fd);
      rmSync(path);
    }
  }

  /** An image layer. */
  async layer(label: string, parent: SnapshotId | undefined, entries: readonly ArchiveEntry[]): Promise<SnapshotId> {
    const snapshot = id(label);
    await this.driver.create(snapshot, { writable: false, ...(parent === undefined ? {} : { parent }) });
    await this.apply(snapshot, parent, archive(entries));
    return snapshot;
  }

  /** A container's layer. */
  async writable(label: string, parent?: SnapshotId, quota?: number): Promise<SnapshotId> {
    const snapshot = id(label);
    await this.driver.create(snapshot, {
      writable: true,
      ...(parent === undefined ? {} : { parent }),
      ...(quota === undefined ? {} : { quota }),
    });
    return snapshot;
  }

  /** Mounts a snapshot for a moment. */
  async seen<T>(snapshot: SnapshotId, look: (path: string) => T): Promise<Awaited<T>> {
    const place = mkdtempSync(join(this.root, 'view-'));
    for (const mount of await this.driver.acquire(snapshot)) await this.files.mount(mount, place);
    try {
      return await look(place);
    } finally {
      await this.files.unmount(place);
      await this.driver.release(snapshot);
    }
  }

  tree(snapshot: SnapshotId, options?: { times: boolean }): Promise<Record<string, string>> {
    return this.seen(snapshot, (path) => describeTree(path, options));
  }
}
