import { invalid } from '@gantry/core/contracts/errors.js';
import type { DriverKind, DriverManifest, DriverSource } from '@gantry/core/contracts/manifest.js';
import { orNearest } from '@gantry/core/contracts/nearest.js';
import type { Settings } from '@gantry/core/system/settings.js';
import { drivers, leftOut } from '@gantry/drivers/index.js';
import { ociRuntime } from '@gantry/drivers/runtime/oci-manifest.js';

/** The drivers that this build contains. */
export const builtIn: DriverSource = {
  label: 'built in',
  find: async <K extends DriverKind>(kind: K, name: string) =>
    drivers.find((manifest) => manifest.kind === kind && manifest.name === name) as DriverManifest<K> | undefined,
  names: (kind) => drivers.filter((manifest) => manifest.kind === kind).map((manifest) => manifest.name),
  leftOut: (kind) => leftOut.filter((driver) => driver.startsWith(`${kind}/`)).map((driver) => driver.slice(kind.length + 1)),
};

/** The OCI runtimes that the configuration adds by path: each is what runc is, under another name. */
export function configuredRuntimes(settings: Settings): DriverSource {
  return {
    label: 'configured',
    find: async <K extends DriverKind>(kind: K, name: string) =>
      kind === 'runtime' && Object.hasOwn(settings.runtimes, name) ? (ociRuntime(name) as unknown as DriverManifest<K>) : undefined,
    names: (kind) => (kind === 'runtime' ? Object.keys(settings.runtimes) : []),
  };
}

/**
 * Refuses a `--storage-opt` that no driver of this build has, whether it will be needed or not. What a plugin takes only the plugin knows,
 * so with one as the default anything may be its own.
 */
export function checkStorageOptions({ storageDriver, storageOptions }: Pick<Settings, 'storageDriver' | 'storageOptions'>): void {
  if (storageDriver !== '' && !builtIn.names('storage').includes(storageDriver)) return;
  const known = drivers.flatMap((manifest) => (manifest.kind === 'storage' ? (manifest.options ?? []) : []));
  // Without a driver's name it is for the default, which says itself whether it has it.
  const words = new Set([...known, ...known.map((option) => option.slice(option.indexOf('.') + 1))]);
  for (const given of Object.keys(storageOptions))
    if (!words.has(given.replace(/^devicemapper\./, 'dm.')))
      throw invalid(`unknown storage-opt ${JSON.stringify(given.slice(0, 128))}${orNearest(given, known)}`);
}

/** What the user's settings mean for one driver, in the driver's own words. */
export function driverOptions(settings: Settings): (kind: DriverKind, name: string) => Readonly<Record<string, string>> {
  return (kind, name) => {
    switch (kind) {
      case 'runtime': {
        const configured = settings.runtimes[name];
        return {
          shim: settings.shimPath,
          ...(name === 'native' ? { path: settings.nativeRuntimePath } : {}),
          ...(configured ? { path: configured.path, args: JSON.stringify(configured.args) } : {}),
        };
      }
      case 'storage': {
        // `overlay2.size=…` is for overlay2 alone, `dm.…` for devicemapper, in dockerd's words; a word without a driver's name is for whichever is the default.
        const options: Record<string, string> = {};
        for (const [key, value] of Object.entries(settings.storageOptions)) {
          const owner =
            builtIn.names('storage').find((candidate) => key.startsWith(`${candidate}.`)) ??
            (key.startsWith('dm.') ? 'devicemapper' : undefined);
          if (owner === name || (owner === undefined && (settings.storageDriver === '' || settings.storageDriver === name)))
            options[key] = value;
        }
        return options;
      }
      case 'network':
        return {
          'ip-forward': String(settings.ipForward),
          ...(name === 'bridge' && { 'userland-proxy': String(settings.userlandProxy) }),
          ...clusterOptions(settings, `${name}.`),
        };
      case 'ipam':
        if (name === 'cluster') return clusterOptions(settings, 'ipam.');
        return settings.defaultAddressPools.length === 0 ? {} : { 'default-address-pools': JSON.stringify(settings.defaultAddressPools) };
      default:
        return {};
    }
  };
}

/** Those of the cluster store's options that are one driver's, without what says so. */
function clusterOptions({ clusterStore }: Settings, prefix: string): Record<string, string> {
  const options = Object.entries(clusterStore?.driverOptions ?? {});
  return Object.fromEntries(options.flatMap(([key, value]) => (key.startsWith(prefix) ? [[key.slice(prefix.length), value]] : [])));
}
