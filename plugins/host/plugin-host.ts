import type { DriverKind, DriverManifest, DriverSource, Logger } from '@gantry/core/contracts/manifest.js';
import type {
  PluginCallRecord,
  PluginDirectory,
  PluginKind,
  PluginOrigin,
  PluginPlace,
  PluginStatus,
} from '@gantry/core/contracts/plugin.js';
import { type RemoteContext, remoteManifest } from '../remote/manifests.js';
import { listNames, locate, type PluginFolders } from './discovery.js';
import { Plugin } from './plugin.js';

export interface PluginHostOptions extends RemoteContext {
  readonly folders: PluginFolders;
  /** Asked before the folders. */
  readonly origins: readonly PluginOrigin[];
  readonly log: Logger;
  /** A plugin's state changed. */
  changed(status: PluginStatus, error: string | undefined): void;
}

const kindOf: Readonly<Partial<Record<DriverKind, PluginKind>>> = {
  volume: 'VolumeDriver',
  network: 'NetworkDriver',
  ipam: 'IpamDriver',
  storage: 'GraphDriver',
  log: 'LogDriver',
};

/**
 * All plugins of one engine: a source of drivers for the registry, and what is known of each plugin for users. A plugin is looked
 * for by name when it is first needed, never at the daemon's start.
 */
export class PluginHost implements DriverSource, PluginDirectory {
  readonly label = 'plugins';
  readonly remote = true;
  private readonly plugins = new Map<string, Plugin>();
  private holders: (name: string) => readonly string[] = () => [];

  constructor(private readonly options: PluginHostOptions) {}

  /** Who says what needs a plugin; the services that know come to be after this. */
  useHolders(holders: (name: string) => readonly string[]): void {
    this.holders = holders;
  }

  /** The plugin of that name, known or found now; `undefined` when there is none. Nothing is asked of it. */
  get(name: string): Plugin | undefined {
    const place = this.place(name);
    const known = this.plugins.get(name);
    // What is gone from its place may come back there; who holds its volumes needs to see it meanwhile.
    if (!place) return known;
    if (known) {
      known.moveTo(place);
      return known;
    }
    const plugin = new Plugin(place, {
      log: this.options.log,
      holders: (of) => this.holders(of),
      changed: (changed, state, error) => {
        const fields = { plugin: changed.name, state, ...(error === undefined ? {} : { error }) };
        if (state === 'unavailable') this.options.log.warn('a plugin cannot be used', fields);
        else this.options.log.debug('a plugin changed', fields);
        this.options.changed(changed.status(), error);
      },
    });
    this.plugins.set(name, plugin);
    return plugin;
  }

  async find<K extends DriverKind>(kind: K, name: string): Promise<DriverManifest<K> | undefined> {
    const wanted = kindOf[kind];
    const plugin = wanted && this.get(name);
    if (!plugin) return undefined;
    await plugin.need(wanted);
    return remoteManifest(kind, plugin, this.options);
  }

  names(kind: DriverKind): readonly string[] {
    const wanted = kindOf[kind];
    return [...this.plugins.values()].filter(({ kinds }) => wanted && kinds.includes(wanted)).map(({ name }) => name);
  }

  candidates(kind: DriverKind): readonly string[] {
    const wanted = kindOf[kind];
    if (!wanted) return [];
    const names = [...this.options.origins.flatMap((origin) => origin.list().map(({ name }) => name)), ...listNames(this.options.folders)];
    return names.filter((name) => {
      const kinds = this.plugins.get(name)?.kinds ?? [];
      return kinds.length === 0 || kinds.includes(wanted);
    });
  }

  list(): readonly PluginStatus[] {
    return [...this.plugins.values()].map((plugin) => plugin.status());
  }

  status(name: string): PluginStatus | undefined {
    return this.get(name)?.status();
  }

  trace(name: string, listener: (record: PluginCallRecord) => void): () => void {
    return this.get(name)?.trace(listener) ?? (() => undefined);
  }

  private place(name: string): PluginPlace | undefined {
    for (const origin of this.options.origins) {
      const place = origin.find(name);
      if (place) return place;
    }
    return locate(this.options.folders, name);
  }
}
