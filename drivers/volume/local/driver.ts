import { chmod, mkdir, open, readFile, readdir, rename, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { EngineError, conflict, invalid, messageOf, notFound } from '@gantry/core/contracts/errors.js';
import type { DriverEnv } from '@gantry/core/contracts/manifest.js';
import type { VolumeDriver, VolumeInfo, VolumeRename, VolumeResize, VolumeUsage } from '@gantry/core/contracts/volume.js';
import { ProjectQuota } from '../../project-quota.js';
import { checkOptions, mountOf, parseSize, type Options, withoutSecrets } from './options.js';

/** One grammar for what becomes a folder's name. */
const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;

/**
 * A volume is `<root>/<name>/_data`. With options (`type`, `device`, `o`, mount(8)'s words) something is mounted there while
 * anybody uses it; they are kept beside it in `options.json`. With `size` the folder is a project of its own with a limit.
 */
export class LocalVolumeDriver implements VolumeDriver, VolumeRename, VolumeResize, VolumeUsage {
  readonly scope = 'local';
  /** Who uses the volumes that are mounted. */
  private readonly users = new Map<string, Set<string>>();

  private readonly quota: ProjectQuota;

  constructor(private readonly env: Pick<DriverEnv, 'root' | 'host' | 'instance'>) {
    this.quota = new ProjectQuota(env);
  }

  async create(name: string, options: Options): Promise<void> {
    checkName(name);
    checkOptions(options);
    const { size } = options;
    if (size !== undefined) await this.quota.require('a volume of limited size');
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
      if (size !== undefined) await this.quota.limit(await this.quota.assign([made]), parseSize(size));
      await rename(made, this.data(name));
    } catch (error) {
      await this.quota.release(`${this.data(name)}.new`);
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
    await this.quota.release(this.data(name));
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

  async usage(name: string): Promise<{ size: number; limit?: number }> {
    checkName(name);
    const data = this.data(name);
    const { type = '', size } = await this.optionsOf(name);
    // What is on a server is not looked through: it may not answer.
    if (/^(?:nfs4?|cifs|smb3)$/.test(type)) return { size: 0 };
    const limit = await this.limitOf(data);
    // The file system's own figure has what the folder itself takes in it.
    const asked = limit && size !== undefined ? parseSize(size) : limit?.bytes;
    return { size: await this.env.host.files.treeSize(data), ...(asked === undefined ? {} : { limit: asked }) };
  }

  private async limitOf(data: string): Promise<{ project: number; bytes: number; used: number } | undefined> {
    const { projects } = this.env.host;
    if ((await projects.refusal(this.env.root)) !== undefined) return undefined;
    const project = await projects.of(data);
    if (project === 0) return undefined;
    const { bytes: used, limit } = await projects.usage(data, project);
    return limit === 0 ? undefined : { project, bytes: limit, used };
  }

  /** A tmpfs or a limited folder takes its new size at once, also while it is in use. */
  async resize(name: string, bytes: number): Promise<void> {
    checkName(name);
    const data = this.data(name);
    if (!(await exists(data))) throw notFound('volume', name);
    const options = await this.optionsOf(name);
    if (options['type'] !== 'tmpfs') {
      const limit = await this.limitOf(data);
      // Files that are there already belong to no project and would not count.
      if (!limit) throw invalid(`volume ${name} was made without a size, and only one with a size (quota) can have another`);
      if (limit.used > bytes) throw conflict(`volume ${name} holds more than ${bytes} bytes`);
      await this.env.host.projects.limit(data, limit.project, bytes);
      await writeSynced(join(this.env.root, name, 'options.json'), JSON.stringify({ ...options, size: String(bytes) }));
      return;
    }
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
