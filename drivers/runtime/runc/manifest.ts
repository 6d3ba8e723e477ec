import type { DriverManifest } from '@gantry/core/contracts/manifest.js';
import { probeRuntime, runtimeOptions } from '../manifest-options.js';
import { OciCommandDriver } from '../oci-command.js';

/** runc as the distribution has it, or with `path` any other runtime with its command line. */
export const runcRuntime: DriverManifest<'runtime'> = {
  kind: 'runtime',
  name: 'runc',
  capabilities: [],
  probe: (env) => probeRuntime(env, 'runc'),
  open: async (env) => new OciCommandDriver(env, runtimeOptions(env, 'runc', false)),
};
