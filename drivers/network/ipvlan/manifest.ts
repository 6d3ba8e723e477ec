import type { DriverManifest } from '@gantry/core/contracts/manifest.js';
import { probeKind, StackedDriver } from '../stacked.js';
import { ipvlanKind } from './kind.js';

export const ipvlanNetwork: DriverManifest<'network'> = {
  kind: 'network',
  name: 'ipvlan',
  capabilities: ['sandbox', 'service-discovery', 'sandbox-link'],
  probe: (env) => probeKind(env, { kind: 'ipvlan', parent: '', mode: 'l2', flag: 'bridge' }),
  open: async (env) => new StackedDriver(env, ipvlanKind),
};
