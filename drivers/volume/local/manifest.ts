import type { DriverManifest } from '@gantry/core/contracts/manifest.js';
import { LocalVolumeDriver } from './driver.js';

/** Folders on this host, and whatever mount(2) can put there. */
export const local: DriverManifest<'volume'> = {
  kind: 'volume',
  name: 'local',
  capabilities: ['volume-private', 'volume-recount', 'volume-rename', 'volume-resize', 'volume-usage'],
  probe: () => Promise.resolve({ ok: true }),
  open: (env) => Promise.resolve(new LocalVolumeDriver(env)),
};
