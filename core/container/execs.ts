import type { ClientStream } from './containers.js';

export interface CreateExec {
  readonly attachStdin: boolean;
  readonly attachStdout: boolean;
  readonly attachStderr: boolean;
  readonly tty: boolean;
  readonly detachKeys: string;
  readonly env: readonly string[];
  readonly workingDir: string;
  readonly user: string;
  readonly privileged: boolean;
  readonly cmd: readonly string[];
  readonly consoleSize: readonly [number, number] | undefined;
}

export interface ExecView {
  readonly id: string;
  readonly containerId: string;
  readonly running: boolean;
  /** undefined before it ended. */
  readonly exitCode: number | undefined;
  readonly pid: number;
  readonly request: CreateExec;
  readonly canRemove: boolean;
}

export interface Execs {
  /** `conflict` when the container is paused or does not run; an empty command is `invalid-parameter`. */
  create(container: string, request: CreateExec): Promise<string>;
  inspect(id: string): ExecView;
  /** Without attached streams resolves when it runs; otherwise `open` is called once it is sure to start (or its start fails in the stream, as Docker does), and resolves at the stream's end, after the exit code is known to `inspect`. */
  start(
    id: string,
    options: { detach: boolean; tty: boolean; consoleSize?: readonly [number, number] },
    open: (info: { tty: boolean }) => Promise<ClientStream>,
  ): Promise<void>;
  resize(id: string, rows: number, columns: number): Promise<void>;
}
