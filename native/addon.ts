import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

const require = createRequire(import.meta.url);

/** This package's folder, whether this file runs compiled, from source (under the test runner) or as a part of a bundle elsewhere. */
export const packageRoot: string = dirname(require.resolve('@gantry/native/package.json'));

/** Where the build puts gantry-runtime, gantry-shim, gantry-init, gantry-dns and gantry-proxy. */
export const binFolder: string = join(packageRoot, 'build', 'bin');

/** The addon's functions as they are; only the files beside this one know their signatures. */
export type Addon = Record<string, (...args: never[]) => unknown>;

let loaded: Addon | undefined;

/** The one place that loads the addon. */
export function addon(): Addon {
  loaded ??= require(join(packageRoot, 'build', 'Release', 'gantry.node')) as Addon;
  return loaded;
}
