import { notFound } from '@gantry/core/contracts/errors.js';
import type { LogDriver } from '@gantry/core/contracts/log.js';
import type { Capability, DriverEnv, DriverKind, DriverManifest } from '@gantry/core/contracts/manifest.js';
import type { Plugin } from '../host/plugin.js';
import { ipamCapabilities, RemoteIpamDriver } from './ipam.js';
import { logReadable, RemoteLogDriver } from './log.js';
import { networkScope, RemoteNetworkDriver } from './network.js';
import { RemoteStorageDriver } from './storage.js';
import { RemoteVolumeDriver, volumeScope } from './volume.js';

/** What the twins need of the engine beyond their environment. */
export interface RemoteContext {
  /** The driver of the engine's own copy of a log that a plugin gets. */
  logCopy(): Promise<LogDriver>;
}

/** A plugin's driver of one kind as the registry takes it. What it can do is asked of the plugin here; nothing is opened yet. */
export async function remoteManifest<K extends DriverKind>(kind: K, plugin: Plugin, context: RemoteContext): Promise<DriverManifest<K>> {
  const manifest = (capabilities: readonly Capability[], open: (env: DriverEnv) => Promise<unknown>): DriverManifest<K> =>
    ({ kind, name: plugin.name, capabilities, probe: async () => ({ ok: true }), open }) as unknown as DriverManifest<K>;
  switch (kind) {
    case 'volume': {
      const scope = await volumeScope(plugin);
      return manifest([], async (env) => new RemoteVolumeDriver(plugin, scope, env.host, ownRoots(env)));
    }
    case 'network': {
      const scope = await networkScope(plugin);
      const able = ['sandbox', 'publish', 'service-discovery', 'keeps-state', 'gateway-network'] as const;
      return manifest(able, async () => new RemoteNetworkDriver(plugin, scope));
    }
    case 'ipam':
      return manifest(await ipamCapabilities(plugin), async () => new RemoteIpamDriver(plugin));
    case 'storage':
      return manifest([], (env) => RemoteStorageDriver.open(plugin, env, ownRoots(env)));
    case 'log': {
      const readable = await logReadable(plugin);
      return manifest(['read'], async (env) => new RemoteLogDriver(plugin, readable, await context.logCopy(), env));
    }
    default:
      throw notFound(`${kind} driver`, `${plugin.name} (plugins have none of this kind)`);
  }
}

/** `env.root` is DATA-ROOT/KIND/NAME, `env.runRoot` EXEC-ROOT/KIND/NAME. */
const ownRoots = (env: DriverEnv): string[] => [env.root, env.runRoot].map((folder) => folder.split('/').slice(0, -2).join('/'));
