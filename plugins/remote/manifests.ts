import { notImplemented } from '@gantry/core/contracts/errors.js';
import type { Capability, DriverEnv, DriverKind, DriverManifest } from '@gantry/core/contracts/manifest.js';
import type { Plugin } from '../host/plugin.js';
import { RemoteVolumeDriver, volumeScope } from './volume.js';

/** A plugin's driver of one kind as the registry takes it. What it can do is asked of the plugin here; nothing is opened yet. */
export async function remoteManifest<K extends DriverKind>(kind: K, plugin: Plugin): Promise<DriverManifest<K>> {
  const manifest = (capabilities: readonly Capability[], open: (env: DriverEnv) => Promise<unknown>): DriverManifest<K> =>
    ({ kind, name: plugin.name, capabilities, probe: async () => ({ ok: true }), open }) as unknown as DriverManifest<K>;
  switch (kind) {
    case 'volume': {
      const scope = await volumeScope(plugin);
      return manifest([], async (env) => new RemoteVolumeDriver(plugin, scope, env.host, ownRoots(env)));
    }
    default:
      throw notImplemented(`${kind} drivers in plugins`);
  }
}

/** `env.root` is DATA-ROOT/KIND/NAME, `env.runRoot` EXEC-ROOT/KIND/NAME. */
const ownRoots = (env: DriverEnv): string[] => [env.root, env.runRoot].map((folder) => folder.split('/').slice(0, -2).join('/'));
