import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** This package's folder, whether this file runs compiled (in dist) or from source (under the test runner). */
export const packageRoot: string = (() => {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'package.json'))) folder = dirname(folder);
  return folder;
})();

/** Where the build puts gantry-runtime, gantry-shim and gantry-init. */
export const binFolder: string = join(packageRoot, 'build', 'bin');

/** The addon's functions as they are; only the files beside this one know their signatures. */
export type Addon = Record<string, (...args: never[]) => unknown>;

let loaded: Addon | undefined;

/** The one place that loads the addon. */
export function addon(): Addon {
  loaded ??= createRequire(import.meta.url)(join(packageRoot, 'build', 'Release', 'gantry.node')) as Addon;
  return loaded;
}
