import type { DriverManifest } from '@gantry/core/contracts/manifest.js';
import { JsonFileDriver } from './driver.js';

/** One JSON object per line, in the very form that agents which tail Docker's files expect. Written by the shim, read here. */
export const jsonFileLog: DriverManifest<'log'> = {
  kind: 'log',
  name: 'json-file',
  capabilities: ['read'],
  probe: async () => ({ ok: true }),
  open: async (env) => new JsonFileDriver(env.host.logs),
};
