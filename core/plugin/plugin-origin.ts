import { conflict } from '../contracts/errors.js';
import type { PluginKind, PluginOrigin, PluginPlace } from '../contracts/plugin.js';
import type { PluginService } from './plugin-service.js';
import type { Plugin } from './plugins.js';

/** From the words of a configuration to those of the protocol. */
const KINDS: Readonly<Record<string, PluginKind>> = {
  volumedriver: 'VolumeDriver',
  networkdriver: 'NetworkDriver',
  ipamdriver: 'IpamDriver',
  graphdriver: 'GraphDriver',
  logdriver: 'LogDriver',
  authz: 'authz',
  metricscollector: 'MetricsCollector',
};

/** Docker's plugin protocol; what speaks another one nobody here can call. */
const PROTOCOLS = new Set(['', 'moby.plugins.http/v1']);

/** The plugins that the engine runs, for those who look for a plugin by name. Nothing is found before the service is there. */
export class ManagedPluginOrigin implements PluginOrigin {
  readonly label = 'managed';
  private service: PluginService | undefined;
  /** One place for each record, so that the same one is seen to be the same. */
  private readonly places = new WeakMap<Plugin, PluginPlace>();

  use(service: PluginService): void {
    this.service = service;
  }

  find(name: string): PluginPlace | undefined {
    const plugin = this.service?.find(name);
    if (!plugin) return undefined;
    if (!plugin.enabled) throw conflict(`plugin ${plugin.name} found but disabled`);
    return this.placeOf(plugin);
  }

  list(): readonly PluginPlace[] {
    const all = this.service?.list(new Map()) ?? [];
    return all.filter(({ enabled }) => enabled).flatMap((plugin) => this.placeOf(plugin) ?? []);
  }

  private placeOf(plugin: Plugin): PluginPlace | undefined {
    if (!this.service || !PROTOCOLS.has(plugin.config.protocolScheme)) return undefined;
    const known = this.places.get(plugin);
    if (known) return known;
    const { paths } = this.service;
    const place: PluginPlace = {
      name: plugin.name,
      address: `unix://${paths.socket(plugin)}`,
      source: `managed plugin ${plugin.id.slice(0, 12)}`,
      kinds: plugin.config.types.flatMap(({ prefix, capability }) => (prefix === 'docker' ? (KINDS[capability.toLowerCase()] ?? []) : [])),
      hostPath: (path) => paths.hostPath(plugin, path),
      pluginPath: (path) => paths.pluginPath(plugin, path) ?? path,
    };
    this.places.set(plugin, place);
    return place;
  }
}
