import { chmod, mkdir, open, readFile, readdir, rename, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { EngineError, conflict, invalid, messageOf, notFound } from '@gantry/core/contracts/errors.js';
import type { DriverEnv } from '@gantry/core/contracts/manifest.js';
import type { VolumeDriver, VolumeInfo, VolumeRename, VolumeResize } from '@gantry/core/contracts/volume.js';
import { checkOptions, mountOf, type Options, withoutSecrets } from './options.js';

/** One grammar for what becomes a folder's name. */
const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;

/**
 * A volume is `<root>/<name>/_data`. With options (`type`, `device`, `o`, mount(8)'s words) something is mounted there while
 * anybody uses it; they are kept beside it in `options.json`.
 */
export class LocalVolumeDriver implements VolumeDriver, VolumeRename, VolumeResize {
  readonly scope = 'local';
  /** Who uses the volumes that are mounted. */
  private readonly users = new Map<string, Set<string>>();

  constructor(private readonly env: Pick<DriverEnv, 'root' | 'host'>) {}

  async create(name: string, options: Options): Promise<void> {
    checkName(name);
    checkOptions(options);
    if (options['size'] !== undefined) throw invalid('quota size requested but no quota support');
    const folder = join(this.env.root, name);
    if (await exists(folder)) {
      if (await exists(this.data(name))) return;
      // A creation that was cut off.
      await this.env.host.files.removeTree(folder);
    }
    try {
      await mkdir(folder);
      // The daemon's umask takes bits from what mkdir is given, and any user of a container may need to come through.
      await chmod(folder, 0o701);
      if (Object.keys(options).length > 0) await writeSynced(join(folder, 'options.json'), JSON.stringify(options));
      // Last, since its being there is what says that the volume is.
      const made = `${this.data(name)}.new`;
      await mkdir(made);
      await chmod(made, 0o755);
      await rename(made, this.data(name));
    } catch (error) {
      await this.env.host.files.removeTree(folder);
      throw error;
    }
  }

  async get(name: string): Promise<VolumeInfo> {
    checkName(name);
    const data = this.data(name);
    try {
      const { birthtime, mtime } = await stat(join(this.env.root, name));
      if (!(await exists(data))) throw notFound('volume', name);
      const created = birthtime.getTime() > 0 ? birthtime : mtime;
      return { name, mountpoint: data, createdAt: created.toISOString().replace(/\.\d+Z$/, 'Z') };
    } catch (error) {
      if ((error as { code?: unknown }).code === 'ENOENT') throw notFound('volume', name, error);
      throw error;
    }
  }

  async list(): Promise<VolumeInfo[]> {
    const entries = await readdir(this.env.root, { withFileTypes: true });
    const infos = await Promise.all(
      entries.filter((entry) => entry.isDirectory() && NAME.test(entry.name)).map(({ name }) => this.get(name).catch(() => undefined)),
    );
    return infos.filter((info) => info !== undefined);
  }

  async remove(name: string): Promise<void> {
    checkName(name);
    if ((this.users.get(name)?.size ?? 0) > 0) throw conflict(`volume ${name} is mounted`);
    const folder = join(this.env.root, name);
    // What a former daemon left mounted must not be emptied with the folder.
    await this.env.host.files.unmount(this.data(name));
    await this.env.host.files.removeTree(folder);
  }

  async mount(name: string, user: string): Promise<string> {
    checkName(name);
    const data = this.data(name);
    const users = this.users.get(name) ?? new Set();
    if (users.size === 0) {
      if (!(await exists(data))) throw notFound('volume', name);
      const mount = await mountOf(await this.optionsOf(name));
      if (mount && !this.isMounted(data)) {
        await this.env.host.files.mount(mount, data).catch((error: unknown) => {
          throw new EngineError(
            'system',
            `error while mounting volume '${data}': failed to mount local volume: mount ${mount.source}:${data}, data: ${withoutSecrets(mount.options)}: ${messageOf(error)}`,
            { cause: error },
          );
        });
      }
    }
    users.add(user);
    this.users.set(name, users);
    return data;
  }

  async unmount(name: string, user: string): Promise<void> {
    checkName(name);
    const users = this.users.get(name);
    users?.delete(user);
    if (users && users.size > 0) return;
    this.users.delete(name);
    await this.env.host.files.unmount(this.data(name));
  }

  async rename(name: string, to: string): Promise<void> {
    checkName(name);
    checkName(to);
    if ((this.users.get(name)?.size ?? 0) > 0) throw conflict(`volume ${name} is mounted`);
    if (await exists(join(this.env.root, to))) throw conflict(`volume ${to} exists already`);
    await this.env.host.files.unmount(this.data(name));
    await rename(join(this.env.root, name), join(this.env.root, to));
    await this.env.host.files.sync(this.env.root);
  }

  /** A tmpfs takes its new size at once, also while it is in use. */
  async resize(name: string, bytes: number): Promise<void> {
    checkName(name);
    const data = this.data(name);
    if (!(await exists(data))) throw notFound('volume', name);
    const options = await this.optionsOf(name);
    if (options['type'] !== 'tmpfs') throw invalid(`volume ${name} cannot have a limit: no quota support where it is`);
    const others = (options['o'] ?? '').split(',').filter((word) => word !== '' && !word.startsWith('size='));
    if (this.isMounted(data)) {
      const words = ['remount', ...others.filter((word) => !word.includes('=')), `size=${bytes}`];
      await this.env.host.files
        .mount({ type: 'tmpfs', source: options['device'] ?? 'tmpfs', options: words }, data)
        .catch((error: unknown) => {
          if ((error as { code?: unknown }).code === 'EINVAL') throw conflict(`volume ${name} holds more than ${bytes} bytes`, error);
          throw error;
        });
    }
    const changed = { ...options, o: [...others, `size=${bytes}`].join(',') };
    await writeSynced(join(this.env.root, name, 'options.json'), JSON.stringify(changed));
  }

  async close(): Promise<void> {
    // Containers go on without the daemon, so what they use stays mounted.
  }

  private data(name: string): string {
    return join(this.env.root, name, '_data');
  }

  private isMounted(data: string): boolean {
    return this.env.host.files.mountsBelow(data).some(({ target }) => target === data);
  }

  private async optionsOf(name: string): Promise<Options> {
    try {
      return JSON.parse(await readFile(join(this.env.root, name, 'options.json'), 'utf8')) as Options;
    } catch (error) {
      if ((error as { code?: unknown }).code === 'ENOENT') return {};
      throw error;
    }
  }
}

function checkName(name: string): void {
  if (!NAME.test(name)) throw invalid(`"${name}" includes invalid characters for a local volume name`);
}

const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );

async function writeSynced(path: string, text: string): Promise<void> {
  const file = await open(`${path}.new`, 'w', 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(`${path}.new`, path);
}
