import { chmod, mkdir, readdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { inject, injectable } from 'tsyringe';
import { conflict, invalid, messageOf } from '../contracts/errors.js';
import type { Host } from '../contracts/host.js';
import { hexOf, isId, newId } from '../contracts/ids.js';
import type { LogEntry, ReadLogs } from '../contracts/log.js';
import type { Logger } from '../contracts/manifest.js';
import type { Content } from '../content/content.js';
import { feed } from '../content/feed.js';
import { limits } from '../content/limits.js';
import { familiarForm, fullForm, parseReference, tagged } from '../content/reference.js';
import type { RegistryAuth } from '../distribution/credentials.js';
import type { ProgressSink } from '../distribution/progress.js';
import type { DriverRegistry } from '../extension/driver-registry.js';
import type { Database } from '../state/database.js';
import { failpoint } from '../state/failpoint.js';
import type { Intent, Journal } from '../state/journal.js';
import { KeyedLock } from '../state/keyed-lock.js';
import { UndoStack } from '../state/undo.js';
import type { Settings } from '../system/settings.js';
import type { Events } from '../system/system.js';
import { Tokens } from '../tokens.js';
import { deviceJson, mountJson, parsePluginConfig, pluginConfigJson } from './plugin-config.js';
import { pluginMatcher } from './plugin-filters.js';
import { PluginPaths } from './plugin-paths.js';
import { checkAgreed, privilegesOf, type Privilege } from './plugin-privileges.js';
import { PluginRunner } from './plugin-runner.js';
import { applySettings, carriedOver, initialSettings } from './plugin-settings.js';
import { PluginStore, pluginName } from './plugin-store.js';
import { PluginTransfer, type RemotePlugin } from './plugin-transfer.js';
import type { InstallPlugin, MetricsOffer, Plugin, PluginContent, PluginDocuments, PluginLife, Plugins } from './plugins.js';

/** Who holds a plugin's blobs. */
const ownerOf = (id: string): string => `plugin:${id}`;

/** Where a version's root file system is, below the plugin's folder. */
const rootfsOf = (content: Pick<PluginContent, 'configDigest'>): string => `rootfs.${hexOf(content.configDigest).slice(0, 16)}`;

/** Who uses a plugin: names of volumes and containers, for the one who wants to disable it. */
export type PluginUsers = (plugin: Plugin) => readonly string[];

@injectable()
export class PluginService implements Plugins {
  private readonly store: PluginStore;
  readonly paths: PluginPaths;
  private readonly transfer: PluginTransfer;
  private readonly runner: PluginRunner;
  private readonly locks = new KeyedLock();
  private users: PluginUsers = () => [];

  constructor(
    @inject(Tokens.Settings) settings: Settings,
    @inject(Tokens.Host) private readonly host: Host,
    @inject(Tokens.Database) db: Database,
    @inject(Tokens.Journal) private readonly journal: Journal,
    @inject(Tokens.Content) private readonly content: Content,
    @inject(Tokens.Drivers) drivers: DriverRegistry,
    @inject(Tokens.Events) private readonly events: Events,
    @inject(Tokens.Log) private readonly log: Logger,
  ) {
    this.store = new PluginStore(db);
    this.paths = new PluginPaths(settings);
    this.transfer = new PluginTransfer(settings, host, content);
    this.runner = new PluginRunner(settings, this.paths, host, drivers, log);
  }

  /** Before `open`. */
  useMetrics(metrics: MetricsOffer): void {
    this.runner.useMetrics(metrics);
  }

  useUsers(users: PluginUsers): void {
    this.users = users;
  }

  /** Reads the records, takes away what a crash left, and meets or starts the enabled plugins, for which nobody waits. */
  async open(): Promise<void> {
    this.store.open();
    await mkdir(this.paths.folders, { recursive: true, mode: 0o700 });
    for (const intent of this.journal.pending()) {
      if (!intent.kind.startsWith('plugin.')) continue;
      await this.settle(intent).catch((error: unknown) => {
        this.log.warn('finishing with a plugin failed', { plugin: intent.subject, kind: intent.kind, error: messageOf(error) });
      });
    }
    await this.removeOrphans();
    for (const plugin of this.store.list()) {
      const work = plugin.enabled ? this.runner.resume(plugin) : this.runner.stop(plugin);
      void work.catch((error: unknown) => {
        this.log.error('a plugin could not be restored', { plugin: plugin.name, error: messageOf(error) });
      });
    }
  }

  close(): void {
    this.runner.close();
    this.transfer.close();
  }

  private async settle(intent: Intent): Promise<void> {
    const id = intent.subject;
    const plugin = this.store.get(id);
    if (intent.kind === 'plugin.install' && !plugin) {
      this.content.release(ownerOf(id));
      await this.host.files.removeTree(this.paths.folder(id));
    }
    if (intent.kind === 'plugin.remove' && plugin) await this.erase(plugin, intent);
    if (intent.kind === 'plugin.upgrade') {
      const { owner } = intent.detail as { owner: string };
      if (plugin) this.holdOnly(plugin);
      this.content.release(owner);
    }
    this.journal.end(intent);
  }

  /** Folders of plugins that have no record, and root file systems of versions that are not the one in use. */
  private async removeOrphans(): Promise<void> {
    for (const name of await readdir(this.paths.folders)) {
      const plugin = this.store.get(name);
      const stale = plugin
        ? (await readdir(this.paths.folder(name))).filter((entry) => entry.startsWith('rootfs.') && entry !== plugin.rootfs)
        : [''];
      for (const entry of isId(name) || name.startsWith('.new-') ? stale : []) {
        await this.host.files.removeTree(join(this.paths.folders, name, entry)).catch((error: unknown) => {
          this.log.warn("removing a plugin's orphaned folder failed", { folder: name, error: messageOf(error) });
        });
      }
    }
  }

  list(filters: ReadonlyMap<string, readonly string[]>): Plugin[] {
    return this.store.list().filter(pluginMatcher(filters));
  }

  inspect(name: string): Plugin {
    return this.store.known(name);
  }

  find(name: string): Plugin | undefined {
    return this.store.find(name);
  }

  life(id: string): PluginLife {
    return this.runner.life(id);
  }

  documents({ config, layers, dockerVersion, settings }: Plugin): PluginDocuments {
    const diffIds = layers.map(({ diffId }) => diffId);
    return {
      config: pluginConfigJson(config, diffIds, dockerVersion),
      mounts: settings.mounts.map(mountJson),
      devices: settings.devices.map(deviceJson),
    };
  }

  async privileges(remote: string, auth: RegistryAuth | undefined): Promise<Privilege[]> {
    const found = await this.transfer.look(tagged(parseReference(remote)), auth, new AbortController().signal);
    return privilegesOf(found.config);
  }

  pulledName({ remote, name }: Pick<InstallPlugin, 'remote' | 'name'>): string {
    const reference = tagged(parseReference(remote));
    return pluginName(name === '' ? familiarForm({ ...reference, tag: reference.tag ?? 'latest', digest: undefined }) : name);
  }

  async pull(request: InstallPlugin, progress: ProgressSink, signal: AbortSignal): Promise<void> {
    const reference = tagged(parseReference(request.remote));
    const name = this.pulledName(request);
    await this.locks.run(name, async () => {
      this.checkNew(name);
      const remote = await this.agreed(reference, request, signal);
      progress({ status: `Pulling from ${reference.path}`, id: reference.digest ?? reference.tag ?? 'latest' });
      const id = newId();
      await this.install(id, async (undo) => {
        const content = await this.transfer.fetch(remote, ownerOf(id), progress, signal);
        await this.layOut(id, content, undo);
        return this.recordOf(id, name, fullForm(reference), content);
      });
      progress({ status: `Digest: ${remote.content.digest}` });
      progress({ status: `Status: Downloaded newer image for ${familiarForm(reference)}` });
      this.publish(this.store.known(id), 'pull');
    });
  }

  async create(wanted: string, archive: Readable): Promise<void> {
    const name = pluginName(wanted);
    await this.locks.run(name, async () => {
      this.checkNew(name);
      const id = newId();
      await this.install(id, async (undo) => {
        const raw = join(this.paths.folders, `.new-${id}`);
        undo.push('remove what was unpacked', () => this.host.files.removeTree(raw));
        await mkdir(raw, { mode: 0o700 });
        try {
          const config = await this.unpackArchive(archive, raw);
          const content = await this.transfer.pack(config, join(raw, 'rootfs'), ownerOf(id));
          undo.push('remove the folder', () => this.host.files.removeTree(this.paths.folder(id)));
          await mkdir(this.paths.folder(id), { mode: 0o700 });
          await rename(join(raw, 'rootfs'), this.paths.rootfs({ id, rootfs: rootfsOf(content) }));
          return this.recordOf(id, name, '', content);
        } finally {
          await this.host.files.removeTree(raw);
        }
      });
      this.publish(this.store.known(id), 'create');
    });
  }

  async enable(name: string, { timeout }: { timeout: number }): Promise<void> {
    const { id } = this.store.known(name);
    await this.locks.run(id, async () => {
      const plugin = this.store.known(id);
      if (plugin.enabled) throw conflict(`plugin ${plugin.name} is already enabled`);
      await this.runner.start(plugin, timeout);
      failpoint('plugin.enable.1');
      this.store.put({ ...plugin, enabled: true, timeout });
      this.publish(plugin, 'enable');
    });
  }

  async disable(name: string, { force }: { force: boolean }): Promise<void> {
    const { id } = this.store.known(name);
    await this.locks.run(id, async () => {
      const plugin = this.store.known(id);
      if (!plugin.enabled) throw conflict(`plugin ${plugin.name} is already disabled`);
      this.checkFree(plugin, force);
      // The record first: a daemon that dies in between ends the process when it starts again.
      this.store.put({ ...plugin, enabled: false });
      failpoint('plugin.disable.1');
      await this.runner.stop(plugin);
      this.publish(plugin, 'disable');
    });
  }

  async set(name: string, changes: readonly string[]): Promise<void> {
    const { id } = this.store.known(name);
    await this.locks.run(id, async () => {
      const plugin = this.store.known(id);
      if (plugin.enabled) throw conflict('cannot set on an active plugin, disable plugin before setting');
      this.store.put({ ...plugin, settings: applySettings(plugin.config, plugin.settings, changes) });
    });
  }

  async upgrade(name: string, request: Omit<InstallPlugin, 'name'>, progress: ProgressSink, signal: AbortSignal): Promise<void> {
    const { id } = this.store.known(name);
    await this.locks.run(id, async () => {
      const old = this.store.known(id);
      const reference = tagged(parseReference(request.remote === '' ? old.reference || old.name : request.remote));
      const remote = await this.agreed(reference, request, signal);
      const owner = `${ownerOf(id)}:upgrade`;
      const intent = this.journal.begin('plugin.upgrade', id, { owner });
      const undo = new UndoStack(this.log);
      undo.push('let go of the new version', () => {
        this.content.release(owner);
        this.journal.end(intent);
      });
      try {
        progress({ status: `Pulling from ${reference.path}`, id: reference.digest ?? reference.tag ?? 'latest' });
        const content = await this.transfer.fetch(remote, owner, progress, signal);
        const next: Plugin = {
          ...old,
          ...content,
          reference: fullForm(reference),
          settings: carriedOver(old, content.config),
          rootfs: rootfsOf(content),
        };
        const same = next.rootfs === old.rootfs;
        if (!same) await this.layOut(id, content, undo);
        failpoint('plugin.upgrade.1');
        if (old.enabled) {
          progress({ status: 'Stopping the old version' });
          undo.push('start the old version again', () => this.runner.start(old, old.timeout));
          await this.runner.stop(old);
          progress({ status: 'Starting the new version' });
          await this.runner.start(next, next.timeout);
        }
        failpoint('plugin.upgrade.2');
        this.content.hold(ownerOf(id), blobsOf(next));
        this.store.put(next, () => this.journal.end(intent));
        undo.dismiss();
        this.holdOnly(next);
        this.content.release(owner);
        if (!same) await this.host.files.removeTree(this.paths.rootfs(old));
        this.publish(next, 'upgrade');
        progress({ status: `Status: Upgraded plugin ${next.name} to ${familiarForm(reference)}` });
      } catch (error) {
        await undo.run();
        throw error;
      }
    });
  }

  async push(name: string, auth: RegistryAuth | undefined, progress: ProgressSink, signal: AbortSignal): Promise<void> {
    const plugin = this.store.known(name);
    const reference = parseReference(plugin.name);
    progress({ status: `The push refers to repository [${reference.domain}/${reference.path}]` });
    await this.transfer.push(reference, plugin, auth, progress, signal);
    this.publish(plugin, 'push');
  }

  async remove(name: string, { force }: { force: boolean }): Promise<Plugin> {
    const { id } = this.store.known(name);
    return this.locks.run(id, async () => {
      const plugin = this.store.known(id);
      if (plugin.enabled && !force) throw conflict(`plugin ${plugin.name} is enabled - disable first`);
      this.checkFree(plugin, force);
      const intent = this.journal.begin('plugin.remove', id);
      await this.erase(plugin, intent);
      this.publish(plugin, 'remove');
      return plugin;
    });
  }

  /** Every step can be repeated. */
  private async erase(plugin: Plugin, intent: Intent): Promise<void> {
    this.store.put({ ...plugin, enabled: false });
    failpoint('plugin.remove.1');
    await this.runner.stop(plugin);
    await this.host.files.removeTree(this.paths.folder(plugin.id));
    failpoint('plugin.remove.2');
    this.content.release(ownerOf(plugin.id));
    this.store.delete(plugin.id, () => this.journal.end(intent));
  }

  logs(name: string, request: Pick<ReadLogs, 'tail' | 'since' | 'until' | 'follow' | 'signal'>): Promise<AsyncIterable<LogEntry>> {
    return this.runner.logs(this.store.known(name), request);
  }

  /** Looks at a plugin in its registry, and at whether it asks for what was agreed to. */
  private async agreed(
    reference: ReturnType<typeof parseReference>,
    { auth, agreed }: Pick<InstallPlugin, 'auth' | 'agreed'>,
    signal: AbortSignal,
  ): Promise<RemotePlugin> {
    const remote = await this.transfer.look(reference, auth, signal);
    checkAgreed(privilegesOf(remote.config), agreed);
    return remote;
  }

  /** Makes a new plugin by `work`, with its intent; on failure nothing of it is left. */
  private async install(id: string, work: (undo: UndoStack) => Promise<Plugin>): Promise<void> {
    const undo = new UndoStack(this.log);
    const intent = this.journal.begin('plugin.install', id);
    undo.push('let go of the blobs', () => {
      this.content.release(ownerOf(id));
      this.journal.end(intent);
    });
    try {
      failpoint('plugin.install.1');
      const plugin = await work(undo);
      failpoint('plugin.install.2');
      this.store.put(plugin, () => this.journal.end(intent));
    } catch (error) {
      await undo.run();
      throw error;
    }
  }

  private async layOut(id: string, content: PluginContent, undo: UndoStack): Promise<void> {
    const target = this.paths.rootfs({ id, rootfs: rootfsOf(content) });
    undo.push('remove the root file system', () => this.host.files.removeTree(this.store.get(id) ? target : this.paths.folder(id)));
    await this.host.files.removeTree(target);
    await mkdir(target, { recursive: true, mode: 0o755 });
    // Any user of the plugin may have to come through, whatever the daemon's umask.
    await chmod(target, 0o755);
    await this.transfer.unpack(content.layers, target);
  }

  private async unpackArchive(archive: Readable, folder: string): Promise<ReturnType<typeof parsePluginConfig>> {
    const { files, process } = this.host;
    const rootFd = await files.openRoot(folder);
    try {
      await feed(this.host, archive, (fd) => files.unpackInto({ rootFd, path: '/', fd, noOverwriteDirNonDir: true }));
      const config = await files.readFileIn(rootFd, '/config.json', limits.configBytes);
      if (!config) throw invalid('the archive has no config.json');
      const rootfs = await files.statIn(rootFd, '/rootfs', { followLast: false }).catch(() => undefined);
      if (!rootfs || (rootfs.mode & 0o170000) !== 0o040000) throw invalid('the archive has no folder rootfs');
      return parsePluginConfig(config);
    } finally {
      process.closeFd(rootFd);
    }
  }

  private recordOf(id: string, name: string, reference: string, content: PluginContent): Plugin {
    const settings = initialSettings(content.config);
    return { ...content, id, name, reference, enabled: false, timeout: 0, settings, rootfs: rootfsOf(content) };
  }

  /** Lets go of the blobs of every version but this one. */
  private holdOnly(plugin: Plugin): void {
    this.content.release(ownerOf(plugin.id));
    this.content.hold(ownerOf(plugin.id), blobsOf(plugin));
  }

  private checkNew(name: string): void {
    if (this.store.list().some((plugin) => plugin.name === name)) throw conflict(`plugin ${JSON.stringify(name)} already exists`);
  }

  private checkFree(plugin: Plugin, force: boolean): void {
    const users = force ? [] : this.users(plugin);
    if (users.length > 0) throw conflict(`plugin ${plugin.name} is in use - [${users.slice(0, 10).join(', ')}]`);
  }

  private publish(plugin: Plugin, action: string): void {
    this.events.publish({ type: 'plugin', action, id: plugin.id, attributes: { name: plugin.name } });
  }
}

const blobsOf = (plugin: PluginContent): PluginContent['configDigest'][] => [
  plugin.manifest.digest,
  plugin.configDigest,
  ...plugin.layers.map(({ digest }) => digest),
];
