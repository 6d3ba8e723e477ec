import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { drivers } from '@gantry/drivers/index.js';
import { host } from '@gantry/native/index.js';
import type { Content } from '@gantry/core/content/content.js';
import { notFound } from '@gantry/core/contracts/errors.js';
import { sha256, type Digest, type DiffId } from '@gantry/core/contracts/ids.js';
import type { DriverSource, Logger } from '@gantry/core/contracts/manifest.js';
import { DriverRegistry } from '@gantry/core/extension/driver-registry.js';
import { LayerStore } from '@gantry/core/layer/layer-store.js';
import type { LayerSource, Layers } from '@gantry/core/layer/layers.js';
import { Database } from '@gantry/core/state/database.js';
import { Journal } from '@gantry/core/state/journal.js';
import type { Settings } from '@gantry/core/system/settings.js';

const quiet: Logger = { debug() {}, info() {}, warn() {}, error() {} };
const source: DriverSource = {
  label: 'built in',
  find: async (kind, name) => drivers.find((one) => one.kind === kind && one.name === name) as never,
  names: (kind) => drivers.filter((one) => one.kind === kind).map((one) => one.name),
};

/** The layer store on the real drivers and kernel, with layers made of `tar` and `gzip` in place of a content store. */
export class LayerRoom {
  registry!: DriverRegistry;
  store!: LayerStore;

  private constructor(
    readonly root: string,
    readonly database: Database,
  ) {}

  static async open(): Promise<LayerRoom> {
    const root = mkdtempSync('/tmp/gantry-storage-layers-');
    for (const name of ['blobs', 'data', 'run', 'mnt']) mkdirSync(join(root, name));
    const room = new LayerRoom(root, Database.open(join(root, 'state.db')));
    room.store = await room.openStore();
    return room;
  }

  /** One more store on the same files, as after a restart. */
  async openStore(storageDriver = ''): Promise<LayerStore> {
    const settings = { dataRoot: join(this.root, 'data'), execRoot: join(this.root, 'run'), storageDriver } as Settings;
    this.registry = new DriverRegistry([source], { ...settings, instance: 'test', host, log: quiet, optionsFor: () => ({}) });
    const content = {
      path: async (digest: Digest) => {
        if (!existsSync(this.blob(digest))) throw notFound('blob', digest);
        return this.blob(digest);
      },
    } as Content;
    const opened = new LayerStore(settings, quiet, host, this.database, this.registry, content, new Journal(this.database));
    await opened.open();
    return opened;
  }

  async restart(): Promise<void> {
    await this.store.close();
    this.store = await this.openStore();
  }

  blob(digest: Digest): string {
    return join(this.root, 'blobs', digest.slice(7));
  }

  /** A gzip layer of the given files. */
  layer(files: Readonly<Record<string, string>>): LayerSource {
    const tree = mkdtempSync(join(this.root, 'tree-'));
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(join(tree, name, '..'), { recursive: true });
      writeFileSync(join(tree, name), text);
    }
    const tar = execFileSync('tar', ['-C', tree, '--sort=name', '-cf', '-', '.']);
    rmSync(tree, { recursive: true });
    const blob = execFileSync('gzip', ['-c'], { input: tar });
    writeFileSync(join(this.root, 'blobs', createHash('sha256').update(blob).digest('hex')), blob);
    return { diffId: sha256(tar) as DiffId, blob: sha256(blob) };
  }

  /** Names of snapshots that lie in a driver's folder. */
  snapshots(driver: string): string[] {
    const folder = join(this.root, 'data', 'storage', driver);
    return existsSync(folder) ? readdirSync(folder).filter((name) => /[0-9a-f]{64}/.test(name)) : [];
  }

  /** Mounts a container's tree for `work`. */
  async inside<T>(containerId: string, work: (tree: string) => T, store: Layers = this.store): Promise<T> {
    const target = join(this.root, 'mnt');
    const mounts = await store.acquireWritable(containerId);
    for (const mount of mounts) await host.files.mount(mount, target);
    try {
      return work(target);
    } finally {
      for (let left = mounts.length; left > 0; left--) await host.files.unmount(target);
      await store.releaseWritable(containerId);
    }
  }

  async close(): Promise<void> {
    await this.store.close();
    for (const { target } of host.files.mountsBelow(this.root)) await host.files.unmount(target, true);
    this.database.close();
    rmSync(this.root, { recursive: true, force: true });
  }
}
