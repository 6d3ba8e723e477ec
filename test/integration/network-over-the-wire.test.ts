import { afterAll } from 'vitest';
import type { DriverManifest } from '@gantry/core/contracts/manifest.js';
import { bridgeNetwork } from '@gantry/drivers/network/bridge/manifest.js';
import { noneNetwork } from '@gantry/drivers/network/none/manifest.js';
import { networkConformance } from '../conformance/network.js';
import { OverTheWire } from '../fakes/over-the-wire.js';
import { inOwnNamespace } from '../network/namespace.js';

/** A driver that is served over a socket in front of each test, and its twin. */
function overTheWire(manifest: DriverManifest<'network'>): DriverManifest<'network'> {
  const wire = new OverTheWire<'network'>(manifest);
  afterAll(() => wire.remove());
  return {
    ...manifest,
    name: `${manifest.name} (remote)`,
    capabilities: [...manifest.capabilities, 'keeps-state'],
    open: async (env) => (await wire.open(env)).driver,
  };
}

inOwnNamespace(import.meta.url, () => {
  networkConformance(overTheWire(bridgeNetwork));
  networkConformance(overTheWire(noneNetwork));
});
