import type { DriverManifest } from '@gantry/core/contracts/manifest.js';
import { probeRuntime, runtimeOptions } from '../manifest-options.js';
import { OciCommandDriver } from '../oci-command.js';

/** gantry-runtime, the engine's own. Its containers are let go by reading their exec.fifo, which takes no other process. */
export const nativeRuntime: DriverManifest<'runtime'> = {
  kind: 'runtime',
  name: 'native',
  capabilities: [],
  probe: (env) => probeRuntime(env, 'gantry-runtime'),
  open: async (env) => new OciCommandDriver(env, runtimeOptions(env, 'gantry-runtime', true)),
};
