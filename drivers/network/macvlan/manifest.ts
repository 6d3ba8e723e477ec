import type { DriverManifest } from '@gantry/core/contracts/manifest.js';
import { probeKind, StackedDriver } from '../stacked.js';
import { macvlanKind } from './kind.js';

export const macvlanNetwork: DriverManifest<'network'> = {
  kind: 'network',
  name: 'macvlan',
  capabilities: ['sandbox', 'service-discovery', 'sandbox-link'],
  probe: (env) => probeKind(env, { kind: 'macvlan', parent: '', mode: 'bridge' }),
  open: async (env) => new StackedDriver(env, macvlanKind),
};
