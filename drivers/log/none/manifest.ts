import type { LogDriver } from '@gantry/core/contracts/log.js';
import { invalid, notImplemented } from '@gantry/core/contracts/errors.js';
import type { DriverManifest } from '@gantry/core/contracts/manifest.js';

const driver: LogDriver = {
  validate(options) {
    const [unknown] = Object.keys(options);
    if (unknown !== undefined) throw invalid(`unknown log opt '${unknown}' for none log driver`);
  },
  target: async () => ({ kind: 'none' }),
  path: () => '',
  read() {
    // Asked by capability and never called; the words are those that Docker's clients show.
    throw notImplemented('reading logs with the none log driver');
  },
  remove: async () => undefined,
  close: async () => undefined,
};

/** Keeps nothing: output goes to attached clients or nowhere. */
export const noneLog: DriverManifest<'log'> = {
  kind: 'log',
  name: 'none',
  capabilities: [],
  probe: async () => ({ ok: true }),
  open: async () => driver,
};
