import { accessSync, constants, existsSync } from 'node:fs';
import { join } from 'node:path';
import { invalid } from '@gantry/core/contracts/errors.js';
import type { DriverEnv, Probe } from '@gantry/core/contracts/manifest.js';
import type { OciCommandOptions } from './oci-command.js';

const SEARCH = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'];

const executable = (path: string): boolean => {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
};

function extraArguments(text: string | undefined): string[] {
  if (text === undefined || text === '') return [];
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = undefined;
  }
  if (!Array.isArray(value) || !value.every((item) => typeof item === 'string')) {
    throw invalid(`runtime option args is not a JSON list of strings: ${text.slice(0, 100)}`);
  }
  return value as string[];
}

/** Where `name` is: an absolute path as it is, a bare word along the system's program folders. */
export function findProgram(name: string): string | undefined {
  if (name.includes('/')) return existsSync(name) ? name : undefined;
  return SEARCH.map((folder) => join(folder, name)).find(executable);
}

/**
 * The options that every runtime driver takes: `path`, the OCI runtime (a bare name is searched for); `args`, a JSON list of
 * arguments that come before the runtime's own; `shim`, the path of gantry-shim.
 */
export function runtimeOptions(env: DriverEnv, fallback: string, startsByFifo: boolean): OciCommandOptions {
  const wanted = env.options['path'] || fallback;
  return {
    path: findProgram(wanted) ?? wanted,
    args: extraArguments(env.options['args']),
    shim: env.options['shim'] ?? '',
    startsByFifo,
  };
}

export async function probeRuntime(env: DriverEnv, fallback: string): Promise<Probe> {
  const { path, shim } = runtimeOptions(env, fallback, false);
  if (shim === '' || !executable(shim)) return { ok: false, reason: `the shim ${shim || '(no path given)'} is no executable file` };
  if (!path.includes('/')) return { ok: false, reason: `${path} is not installed (looked in ${SEARCH.join(', ')})` };
  if (!executable(path)) return { ok: false, reason: `${path} is no executable file` };
  return { ok: true };
}
