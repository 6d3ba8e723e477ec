import type { AnyManifest } from '@gantry/core/contracts/manifest.js';

/** The drivers of this build. A new in-tree driver is its folder plus one line here. */
export const drivers: readonly AnyManifest[] = [];
