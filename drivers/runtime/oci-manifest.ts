import type { DriverManifest } from '@gantry/core/contracts/manifest.js';
import { probeRuntime, runtimeOptions } from './manifest-options.js';
import { OciCommandDriver } from './oci-command.js';

/**
 * A runtime with the OCI command line under a name of the user's choice: found along the system's program folders by that
 * name, or with the option `path`.
 */
export const ociRuntime = (name: string): DriverManifest<'runtime'> => ({
  kind: 'runtime',
  name,
  capabilities: [],
  probe: (env) => probeRuntime(env, name),
  open: async (env) => new OciCommandDriver(env, runtimeOptions(env, name, false)),
});
