import { mkdir } from 'node:fs/promises';
import type { DriverManifest } from '@gantry/core/contracts/manifest.js';
import { checkOptions, fullNames, sizeOption } from '../options.js';
import { ProjectQuota } from '../../project-quota.js';
import { Overlay2Driver } from './driver.js';
import { Layout } from './layout.js';
import { overlayFacts, probeOverlay } from './probe.js';

const OPTIONS = ['size'];

export const overlay2: DriverManifest<'storage'> = {
  kind: 'storage',
  name: 'overlay2',
  capabilities: ['parallel-apply', 'native-diff', 'quota'],
  options: fullNames('overlay2', OPTIONS),
  probe: probeOverlay,
  async open(env) {
    checkOptions('overlay2', env.options, OPTIONS);
    const facts = await overlayFacts(env);
    const size = sizeOption('overlay2', env.options, 'size');
    const layout = new Layout(env.root);
    await mkdir(layout.links(), { recursive: true, mode: 0o710 });
    const quotas = new ProjectQuota(env);
    if (size !== undefined) await quotas.require('overlay2.size');
    const driver = new Overlay2Driver(env, layout, facts, quotas, size);
    await driver.open();
    return driver;
  },
};
