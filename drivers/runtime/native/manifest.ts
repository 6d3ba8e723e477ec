import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { DriverEnv, DriverManifest } from '@gantry/core/contracts/manifest.js';
import { probeRuntime, runtimeOptions } from '../manifest-options.js';
import { OciCommandDriver, type OciCommandOptions } from '../oci-command.js';

/** Compiled system call filters are kept where a restart of the machine leaves them: compiling one takes as long as some containers. */
const keepFilters = (env: DriverEnv, options: OciCommandOptions): OciCommandOptions => ({
  ...options,
  args: [...options.args, '--seccomp-cache', join(env.root, 'seccomp')],
});

/** gantry-runtime, the engine's own. Its containers are let go by reading their exec.fifo, which takes no other process. */
export const nativeRuntime: DriverManifest<'runtime'> = {
  kind: 'runtime',
  name: 'native',
  capabilities: [],
  probe: (env) => probeRuntime(env, 'gantry-runtime'),
  open: async (env) => {
    await mkdir(env.root, { recursive: true, mode: 0o700 });
    return new OciCommandDriver(env, keepFilters(env, runtimeOptions(env, 'gantry-runtime', true)));
  },
};
