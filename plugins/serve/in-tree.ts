import { invalid } from '@gantry/core/contracts/errors.js';
import type { IpamDriver } from '@gantry/core/contracts/ipam.js';
import type { AnyManifest, DriverEnv } from '@gantry/core/contracts/manifest.js';
import type { VolumeDriver } from '@gantry/core/contracts/volume.js';
import type { IpamPlugin } from '../sdk/server/ipam.js';
import type { PluginParts } from '../sdk/server/serve.js';
import type { VolumePlugin } from '../sdk/server/volume.js';
import { ServedLogs } from './logs.js';
import { ServedNetworks } from './networks.js';
import { ServedStorage } from './storage.js';

/** Kinds of drivers that the plugin protocol has. It has none for runtimes, which are programs: another one is added by its path (`--add-runtime`). */
export const servedKinds = ['storage', 'network', 'ipam', 'volume', 'log'] as const;

/** An in-tree driver as the parts of a plugin: what the engine would ask in its own process is asked over a socket. */
export async function servedParts(manifest: AnyManifest, env: DriverEnv): Promise<PluginParts & { close(): Promise<void> }> {
  switch (manifest.kind) {
    case 'volume': {
      const driver = await manifest.open(env);
      return { volume: servedVolume(driver), close: () => driver.close() };
    }
    case 'ipam': {
      const driver = await manifest.open(env);
      return { ipam: servedIpam(driver), close: () => driver.close() };
    }
    case 'network': {
      const network = new ServedNetworks(await manifest.open(env), env);
      await network.restore();
      return { network, close: () => network.close() };
    }
    case 'storage': {
      const storage = new ServedStorage(await manifest.open(env), env);
      return { storage, close: () => storage.close() };
    }
    case 'log': {
      const driver = await manifest.open(env);
      return { log: new ServedLogs(driver, env, manifest.capabilities.includes('read')), close: () => driver.close() };
    }
    default:
      throw invalid(`a ${manifest.kind} driver cannot be served over a socket (${servedKinds.join(', ')} can)`);
  }
}

/** The contract's verbs are the protocol's. */
const servedVolume = (driver: VolumeDriver): VolumePlugin => ({
  scope: driver.scope,
  create: async (name, options) => void (await driver.create(name, options)),
  get: (name) => driver.get(name),
  list: () => driver.list(),
  remove: (name) => driver.remove(name),
  mount: (name, user) => driver.mount(name, user),
  unmount: (name, user) => driver.unmount(name, user),
});

const servedIpam = (driver: IpamDriver): IpamPlugin => ({
  defaultAddressSpaces: () => driver.defaultAddressSpaces(),
  requestPool: (request) => driver.requestPool({ ...request, avoid: [] }),
  releasePool: (poolId) => driver.releasePool(poolId),
  requestAddress: (poolId, address, options) => driver.requestAddress(poolId, address, options),
  releaseAddress: (poolId, address) => driver.releaseAddress(poolId, address),
});
