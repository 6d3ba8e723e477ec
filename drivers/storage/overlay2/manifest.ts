import { mkdir } from 'node:fs/promises';
import type { DriverManifest } from '@gantry/core/contracts/manifest.js';
import { checkOptions } from '../options.js';
import { Overlay2Driver } from './driver.js';
import { Layout } from './layout.js';
import { plainOptions, probeOverlay } from './probe.js';

export const overlay2: DriverManifest<'storage'> = {
  kind: 'storage',
  name: 'overlay2',
  capabilities: ['parallel-apply', 'native-diff'],
  probe: probeOverlay,
  async open(env) {
    checkOptions('overlay2', env.options, []);
    const layout = new Layout(env.root);
    await mkdir(layout.links(), { recursive: true, mode: 0o710 });
    return new Overlay2Driver(env, layout, plainOptions());
  },
};
