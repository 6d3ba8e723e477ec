import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { EngineError, messageOf } from '@gantry/core/contracts/errors.js';
import type { HostProcess } from '@gantry/core/contracts/host-process.js';
import { runtimeError } from './runtime-error.js';

/** Never the daemon's own environment: what a container's maker sees is the same however the daemon was started. */
export const RUNTIME_ENVIRONMENT: readonly string[] = ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'];

const TIMEOUT_MS = 60_000;

/** The rare calls of an OCI runtime's command line, which need no shim. */
export class RuntimeCommand {
  private calls = 0;

  constructor(
    private readonly host: HostProcess,
    readonly path: string,
    readonly args: readonly string[],
    /** The runtime's own state. */
    readonly root: string,
  ) {}

  /** Whether the runtime has state of this container. */
  knows(id: string): boolean {
    return existsSync(join(this.root, id));
  }

  async run(operation: string, rest: readonly string[], logFolder: string, input?: Buffer): Promise<void> {
    const log = join(logFolder, `${operation}-${++this.calls}.log`);
    try {
      const { code, stderr } = await this.host.run({
        path: this.path,
        args: [this.path, ...this.args, '--root', this.root, '--log', log, '--log-format', 'json', operation, ...rest],
        env: RUNTIME_ENVIRONMENT,
        timeoutMs: TIMEOUT_MS,
        ...(input ? { input } : {}),
      });
      if (code !== 0) throw await runtimeError(operation, log, stderr.toString('utf8'));
    } catch (error) {
      if (error instanceof EngineError) throw error;
      throw new EngineError('system', `OCI runtime ${operation} failed: ${messageOf(error)}`, { cause: error });
    } finally {
      await rm(log, { force: true });
    }
  }

  /** Takes away what the runtime keeps of a container, killing what still runs of it. */
  async delete(id: string, logFolder: string): Promise<void> {
    // The folder may be gone while the runtime's state is not.
    const folder = existsSync(logFolder) ? logFolder : this.root;
    await this.run('delete', ['--force', id], folder);
  }

  async version(): Promise<string> {
    const { stdout } = await this.host.run({
      path: this.path,
      args: [this.path, ...this.args, '--version'],
      env: RUNTIME_ENVIRONMENT,
      timeoutMs: 10_000,
    });
    return stdout.toString('utf8').split('\n')[0] ?? '';
  }
}
