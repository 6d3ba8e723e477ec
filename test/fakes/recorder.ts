import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const program = fileURLToPath(new URL('../plugins/recorder.py', import.meta.url));
export const PYTHON = existsSync('/usr/bin/python3') ? '/usr/bin/python3' : 'python3';

export interface RecordedCall {
  readonly method: string;
  /** Whether the body had no byte at all. */
  readonly empty: boolean;
  readonly request: Record<string, unknown>;
  /** Of a call whose body is a stream. */
  readonly query?: Readonly<Record<string, string>>;
}

/** The recording plugin in Python, as a process that may be killed and started again. */
export class Recorder {
  private child: ChildProcess | undefined;
  readonly state: string;
  private readonly file: string;

  private constructor(
    readonly name: string,
    readonly socket: string,
    folder: string,
    private readonly kinds: readonly string[],
    private readonly wrapper: readonly string[],
  ) {
    this.state = join(folder, `${name}-state`);
    this.file = join(folder, `${name}-calls`);
  }

  /** `wrapper` is a command that the plugin is started by, for one that lives in other namespaces. */
  static async start(options: {
    name: string;
    sockets: string;
    folder: string;
    kinds: readonly string[];
    wrapper?: readonly string[];
  }): Promise<Recorder> {
    mkdirSync(options.folder, { recursive: true });
    const socket = join(options.sockets, `${options.name}.sock`);
    const recorder = new Recorder(options.name, socket, options.folder, options.kinds, options.wrapper ?? []);
    writeFileSync(recorder.file, '');
    await recorder.up();
    return recorder;
  }

  async up(): Promise<void> {
    const args = [program, '--socket', this.socket, '--state', this.state, '--calls', this.file, '--kinds', this.kinds.join(',')];
    const [command = PYTHON, ...rest] = [...this.wrapper, PYTHON, ...args];
    const child = spawn(command, rest, { stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, PYTHONDONTWRITEBYTECODE: '1' } });
    this.child = child;
    await new Promise<void>((done, fail) => {
      child.stdout?.once('data', () => done());
      child.once('error', fail);
      child.once('exit', (code) => fail(new Error(`the recording plugin ended with ${code}`)));
    });
  }

  /** Killed: its socket stays where it was. */
  async kill(): Promise<void> {
    const { child } = this;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((done) => child.once('exit', done));
    child.kill('SIGKILL');
    await ended;
  }

  /** Every call so far, in order. */
  calls(): RecordedCall[] {
    return readFileSync(this.file, 'utf8')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as RecordedCall);
  }

  methods(): string[] {
    return this.calls().map(({ method }) => method);
  }

  forget(): void {
    writeFileSync(this.file, '');
  }
}
