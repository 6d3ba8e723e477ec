import { createHash } from 'node:crypto';
import { mkdir, open, readdir, rm } from 'node:fs/promises';
import { Socket } from 'node:net';
import { join } from 'node:path';
import { PassThrough, type Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import { conflict, EngineError, invalid, messageOf, notFound } from '@gantry/core/contracts/errors.js';
import type { Host } from '@gantry/core/contracts/host.js';
import { type DiffId, parseDigest, snapshotId, type SnapshotId } from '@gantry/core/contracts/ids.js';
import type { DriverEnv } from '@gantry/core/contracts/manifest.js';
import type { Mount } from '@gantry/core/contracts/mount.js';
import type { AppliedLayer, Change, CreateSnapshot, LayerInput, StorageDriver } from '@gantry/core/contracts/storage.js';
import { misbehaved } from '../host/answers.js';
import { Unreached } from '../host/client.js';
import type { Plugin } from '../host/plugin.js';
import { changeKinds } from '../sdk/server/storage.js';
import { hostFolder } from './paths.js';

/**
 * A storage driver in another process, by Docker's graph driver protocol. The protocol cannot list layers, so each has an empty file
 * of its name here, made before the plugin hears of it and removed after it has forgotten it.
 */
export class RemoteStorageDriver implements StorageDriver {
  private readonly acquired = new Map<SnapshotId, number>();
  private readonly ids: string;

  private constructor(
    private readonly plugin: Plugin,
    private readonly env: DriverEnv,
    private readonly ownRoots: readonly string[],
  ) {
    this.ids = join(env.root, 'layers');
  }

  static async open(plugin: Plugin, env: DriverEnv, ownRoots: readonly string[]): Promise<RemoteStorageDriver> {
    const driver = new RemoteStorageDriver(plugin, env, ownRoots);
    await mkdir(driver.ids, { recursive: true, mode: 0o700 });
    const home = join(env.root, 'home');
    await mkdir(home, { recursive: true, mode: 0o700 });
    const options = Object.entries(env.options).map(([name, value]) => `${name}=${value}`);
    // As dockerd writes it, also what is empty.
    await plugin.call('GraphDriver.Init', {
      Home: plugin.place.pluginPath?.(home) ?? home,
      Opts: options.length > 0 ? options : null,
      UIDMaps: null,
      GIDMaps: null,
    });
    return driver;
  }

  async create(id: SnapshotId, { parent, writable, quota }: CreateSnapshot): Promise<void> {
    if (await this.exists(id)) throw conflict(`snapshot ${id} exists`);
    if (parent !== undefined && !(await this.exists(parent))) throw notFound('snapshot', parent);
    await (await open(join(this.ids, id), 'w', 0o600)).close();
    try {
      await this.make(id, parent, writable, quota);
    } catch (error) {
      await this.remove(id).catch(() => undefined);
      throw error;
    }
  }

  async exists(id: SnapshotId): Promise<boolean> {
    try {
      return (await this.plugin.call('GraphDriver.Exists', { ID: id })).Exists ?? false;
    } catch (error) {
      if (error instanceof Unreached) throw error;
      return false;
    }
  }

  async list(): Promise<SnapshotId[]> {
    return (await readdir(this.ids)).map(snapshotId);
  }

  async acquire(id: SnapshotId): Promise<Mount[]> {
    const { Dir } = await this.known(id, this.plugin.call('GraphDriver.Get', { ID: id }));
    this.acquired.set(id, (this.acquired.get(id) ?? 0) + 1);
    try {
      if (!Dir) throw misbehaved(this.plugin.name, 'GraphDriver.Get', `no Dir for layer ${id}`);
      const roots = this.ownRoots.filter((root) => !Dir.startsWith(`${this.env.root}/home/`) || !this.env.root.startsWith(root));
      const source = await hostFolder(this.plugin, 'GraphDriver.Get', Dir, this.env.host, roots);
      return [{ type: 'bind', source, options: ['rbind'] }];
    } catch (error) {
      await this.release(id).catch(() => undefined);
      throw error;
    }
  }

  async release(id: SnapshotId): Promise<void> {
    const count = this.acquired.get(id) ?? 0;
    if (count === 0) return;
    await this.plugin.call('GraphDriver.Put', { ID: id });
    if (count > 1) this.acquired.set(id, count - 1);
    else this.acquired.delete(id);
  }

  async applyDiff(id: SnapshotId, parent: SnapshotId | undefined, layer: LayerInput): Promise<AppliedLayer> {
    if (!(await this.exists(id))) throw notFound('snapshot', id);
    const hash = createHash('sha256');
    const plain = new Transform({
      transform(chunk: Buffer, _encoding, done) {
        hash.update(chunk);
        done(null, chunk);
      },
    });
    let broken: unknown;
    const feeding = inflated(readFrom(this.env.host, layer.fd), plain).catch((error: unknown) => {
      broken = error;
      plain.destroy(error as Error);
    });
    try {
      const { Size } = await this.plugin.upload('GraphDriver.ApplyDiff', { id, parent: parent ?? '' }, plain);
      await feeding;
      if (broken !== undefined) throw broken;
      const diffId: DiffId = parseDigest(`sha256:${hash.digest('hex')}`);
      return { diffId, size: Size ?? 0 };
    } catch (error) {
      plain.destroy();
      await feeding;
      await this.startAgain(id, parent);
      if (broken !== undefined && !(broken instanceof EngineError)) throw invalid(`the layer cannot be read: ${messageOf(broken)}`, broken);
      throw error;
    }
  }

  async diff(id: SnapshotId, parent: SnapshotId | undefined): Promise<Readable> {
    return this.known(id, this.plugin.download('GraphDriver.Diff', layerOf(id, parent)));
  }

  async changes(id: SnapshotId, parent: SnapshotId | undefined): Promise<Change[]> {
    const { Changes } = await this.known(id, this.plugin.call('GraphDriver.Changes', layerOf(id, parent)));
    // The best known helper for plugins puts as many empty entries before the real ones.
    return (Changes ?? []).flatMap(({ Path, Kind }) => {
      const kind = changeKinds[Kind ?? 0];
      return Path?.startsWith('/') && kind ? [{ path: Path, kind }] : [];
    });
  }

  async usage(id: SnapshotId): Promise<number> {
    return (await this.known(id, this.plugin.call('GraphDriver.DiffSize', { ID: id }))).Size ?? 0;
  }

  async remove(id: SnapshotId): Promise<void> {
    if (this.acquired.has(id)) throw conflict(`snapshot ${id} is in use`);
    try {
      await this.plugin.call('GraphDriver.Remove', { ID: id });
    } catch (error) {
      if (error instanceof Unreached || (await this.exists(id))) throw error;
    }
    await rm(join(this.ids, id), { force: true });
  }

  async status(): Promise<[string, string][]> {
    const { Status } = await this.plugin.call('GraphDriver.Status', undefined);
    return (Status ?? []).map(([name = '', value = '']) => [name, value]);
  }

  async metadata(id: SnapshotId): Promise<Record<string, string>> {
    try {
      return (await this.plugin.call('GraphDriver.GetMetadata', { ID: id })).Metadata ?? {};
    } catch (error) {
      if (error instanceof Unreached) throw error;
      return {};
    }
  }

  async close(): Promise<void> {
    // Cleanup unmounts what containers use, and those outlive the daemon.
  }

  private async make(id: SnapshotId, parent: SnapshotId | undefined, writable: boolean, quota: number | undefined): Promise<void> {
    const request = { ...layerOf(id, parent), ...(quota === undefined ? {} : { StorageOpt: { size: String(quota) } }) };
    await this.plugin.call(writable ? 'GraphDriver.CreateReadWrite' : 'GraphDriver.Create', request);
  }

  /** What is half filled goes, so that the same call can be made again. */
  private async startAgain(id: SnapshotId, parent: SnapshotId | undefined): Promise<void> {
    await this.plugin.call('GraphDriver.Remove', { ID: id }).catch(() => undefined);
    await this.make(id, parent, false, undefined).catch((error: unknown) =>
      this.env.log.warn('a layer could not be made again after it was filled in part', { layer: id, error: messageOf(error) }),
    );
  }

  /** A failure of a layer that is not there says so. */
  private async known<T>(id: SnapshotId, call: Promise<T>): Promise<T> {
    try {
      return await call;
    } catch (error) {
      if (error instanceof Unreached || (error as EngineError).kind === 'not-found' || (await this.exists(id))) throw error;
      throw notFound('snapshot', id, error);
    }
  }
}

const layerOf = (id: SnapshotId, parent: SnapshotId | undefined): { ID: string; Parent?: string } => ({
  ID: id,
  ...(parent !== undefined && { Parent: parent }),
});

/** The bytes of a descriptor, read away from libuv's threads: behind it may be a download that takes as long as it takes. */
function readFrom(host: Host, fd: number): Readable {
  const [readEnd, writeEnd] = host.process.pipe();
  const stream = new Socket({ fd: readEnd, readable: true, writable: false });
  host.files.compress({ from: fd, to: writeEnd, compression: 'none' }).then(
    () => host.process.closeFd(writeEnd),
    (error: unknown) => {
      stream.destroy(error as Error);
      host.process.closeFd(writeEnd);
    },
  );
  return stream;
}

/** The wire wants plain archives; what a layer is packed with shows in its first bytes. */
async function inflated(packed: Readable, plain: Transform): Promise<void> {
  const first: Buffer[] = [];
  let size = 0;
  const iterator = packed[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  while (size < 4) {
    const { value, done } = await iterator.next();
    if (done) break;
    first.push(value);
    size += value.length;
  }
  const whole = new PassThrough();
  const magic = Buffer.concat(first).subarray(0, 4);
  const unpack =
    magic[0] === 0x1f && magic[1] === 0x8b
      ? createGunzip()
      : magic.equals(Buffer.from('28b52ffd', 'hex'))
        ? createZstdDecompress()
        : undefined;
  const rest = async function* (): AsyncGenerator<Buffer> {
    yield* first;
    for (let next = await iterator.next(); !next.done; next = await iterator.next()) yield next.value;
  };
  await Promise.all([pipeline(rest, whole), unpack ? pipeline(whole, unpack, plain) : pipeline(whole, plain)]);
}
