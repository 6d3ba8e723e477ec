import { EngineError, messageOf } from '../contracts/errors.js';
import type { TaskProcess } from '../contracts/runtime.js';
import type { Container } from './container.js';
import type { LiveContainer } from './live.js';
import type { ContainerRoom } from './room.js';
import { buildProcess } from './spec.js';
import { resolveUserIn } from './user.js';

export interface ProcessRequest {
  readonly id: string;
  readonly args: readonly string[];
  readonly env: readonly string[];
  /** '' for the container's. */
  readonly workingDir: string;
  readonly user: string;
  readonly privileged: boolean;
  readonly terminal: boolean;
  readonly consoleSize: readonly [number, number] | undefined;
  readonly attach: { readonly stdin: boolean; readonly stdout: boolean; readonly stderr: boolean };
}

/** Starts one more process in a running container, with the container's environment, capabilities and limits. */
export async function startProcess(
  room: ContainerRoom,
  container: Container,
  live: LiveContainer,
  request: ProcessRequest,
): Promise<TaskProcess> {
  const { files, process: processes } = room.host;
  // The root as the container sees it, volumes included; held by descriptor, since the container may change it meanwhile.
  const rootFd = await files.openRoot(`/proc/${live.task.pid}/root`).catch((error: unknown) => {
    throw new EngineError('conflict', `container ${container.id} is not running`, { cause: error });
  });
  try {
    const user = await resolveUserIn(
      files,
      rootFd,
      request.user === '' ? container.config.user : request.user,
      request.user === '' ? container.hostConfig.groupAdd : [],
    );
    const process = buildProcess({
      container,
      facts: room.facts,
      defaults: room.specDefaults,
      user,
      hostname: container.config.hostname,
      args: request.args,
      terminal: request.terminal,
      privileged: request.privileged,
      env: request.env,
      ...(request.workingDir === '' ? {} : { cwd: request.workingDir }),
      ...(request.consoleSize ? { consoleSize: request.consoleSize } : {}),
    });
    return await live.task.exec(
      request.id,
      {
        process: process as unknown as Readonly<Record<string, unknown>>,
        terminal: request.terminal,
        ...(process.consoleSize ? { consoleSize: [process.consoleSize.height, process.consoleSize.width] as const } : {}),
        openStdin: request.attach.stdin,
      },
      request.attach,
    );
  } finally {
    processes.closeFd(rootFd);
  }
}

/** Docker's words and exit code for an exec that did not start. */
export function readExecError(cause: unknown): { exitCode: number; error: EngineError } {
  if (cause instanceof EngineError && (cause.kind === 'conflict' || cause.kind === 'not-found' || cause.kind === 'unavailable')) {
    return { exitCode: 126, error: cause };
  }
  const text = messageOf(cause);
  const message =
    text.startsWith('OCI runtime exec failed') || text.startsWith('unable to find') ? text : `OCI runtime exec failed: ${text}`;
  const lower = text.toLowerCase();
  if (lower.includes('executable file not found') || lower.includes('no such file or directory')) {
    return { exitCode: 127, error: new EngineError('invalid-parameter', message, { cause }) };
  }
  return { exitCode: 126, error: new EngineError('invalid-parameter', message, { cause }) };
}
