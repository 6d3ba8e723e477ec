import { join, posix } from 'node:path';
import type { Settings } from '../system/settings.js';
import { METRICS_FOLDER, SOCKET_FOLDER } from './plugin-config.js';
import type { Plugin } from './plugins.js';

/** Where the files of a plugin are. All follow from its record, so that what a crash left can be found. */
export class PluginPaths {
  constructor(private readonly settings: Pick<Settings, 'dataRoot' | 'execRoot'>) {}

  get folders(): string {
    return join(this.settings.dataRoot, 'plugins');
  }

  /** Bundles and sockets of those that run; on tmpfs. */
  get running(): string {
    return join(this.settings.execRoot, 'managed');
  }

  /** Kept until the plugin is removed. */
  folder(id: string): string {
    return join(this.folders, id);
  }

  rootfs(plugin: Pick<Plugin, 'id' | 'rootfs'>): string {
    return join(this.folder(plugin.id), plugin.rootfs);
  }

  /** The host's side of the propagated mount; outlives upgrades. */
  propagated(id: string): string {
    return join(this.folder(id), 'propagated');
  }

  task(id: string): string {
    return join(this.folder(id), 'task');
  }

  bundle(id: string): string {
    return join(this.run(id), 'bundle');
  }

  /** What the plugin sees as the folder of its socket. */
  sockets(id: string): string {
    return join(this.run(id), 'sock');
  }

  /** What a plugin that collects the engine's metrics sees as the folder above that one. */
  metrics({ id, config }: Pick<Plugin, 'id' | 'config'>): string {
    // One that shares this very folder with the host has its metrics there: two mounts at one place would hide each other.
    return config.propagatedMount === METRICS_FOLDER ? this.propagated(id) : join(this.run(id), 'docker');
  }

  socket({ id, config }: Pick<Plugin, 'id' | 'config'>): string {
    return join(this.sockets(id), config.socket);
  }

  /** A socket's path has some hundred bytes at most, so that the whole id is too long for it. */
  run(id: string): string {
    return join(this.running, id.slice(0, 16));
  }

  /** Where on the host a path is that the plugin names. Only words: what is a link there can lead anywhere. */
  hostPath(plugin: Plugin, path: string): string {
    const clean = posix.join('/', path);
    const { propagatedMount } = plugin.config;
    const inside = propagatedMount === '' ? undefined : below(clean, propagatedMount);
    return inside === undefined ? join(this.rootfs(plugin), clean) : join(this.propagated(plugin.id), inside);
  }

  /** The other way; `undefined` for what the plugin cannot see. */
  pluginPath(plugin: Plugin, path: string): string | undefined {
    const { propagatedMount } = plugin.config;
    const shared = propagatedMount === '' ? undefined : below(path, this.propagated(plugin.id));
    if (shared !== undefined) return posix.join(propagatedMount, shared);
    const sockets = below(path, this.sockets(plugin.id));
    if (sockets !== undefined) return posix.join(SOCKET_FOLDER, sockets);
    const inside = below(path, this.rootfs(plugin));
    return inside === undefined ? undefined : posix.join('/', inside);
  }
}

/** What follows `folder` in `path`, when it is there or below. */
function below(path: string, folder: string): string | undefined {
  if (path === folder) return '';
  const prefix = folder.endsWith('/') ? folder : `${folder}/`;
  return path.startsWith(prefix) ? path.slice(prefix.length) : undefined;
}
