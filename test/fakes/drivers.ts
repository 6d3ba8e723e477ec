import { EngineError } from '@gantry/core/contracts/errors.js';
import type { LogDriver, LogEntry } from '@gantry/core/contracts/log.js';
import type { AnyManifest, DriverKind, DriverSource } from '@gantry/core/contracts/manifest.js';
import type {
  CreateTask,
  ExecSpec,
  Exit,
  FoundTask,
  RuntimeDriver,
  Task,
  TaskProcess,
  TaskStream,
  TaskUsage,
} from '@gantry/core/contracts/runtime.js';

type Output = (stream: 'stdout' | 'stderr', chunk: Buffer) => void | Promise<void>;

/** A stream that the test writes to; keeps what is written to it. */
export class FakeStream implements TaskStream {
  readonly input: Buffer[] = [];
  stdinClosed = false;
  detached = false;
  private listener: Output | undefined;
  private readonly early: [stream: 'stdout' | 'stderr', chunk: Buffer][] = [];
  private readonly end = Promise.withResolvers<void>();
  readonly ended: Promise<void> = this.end.promise;

  onOutput(listener: Output): void {
    this.listener = listener;
    for (const [stream, chunk] of this.early.splice(0)) void listener(stream, chunk);
  }

  print(text: string, stream: 'stdout' | 'stderr' = 'stdout'): void {
    if (this.listener) void this.listener(stream, Buffer.from(text));
    else this.early.push([stream, Buffer.from(text)]);
  }

  finish(): void {
    this.end.resolve();
  }

  async write(chunk: Buffer): Promise<void> {
    this.input.push(chunk);
  }

  closeStdin(): void {
    this.stdinClosed = true;
  }

  detach(): void {
    this.detached = true;
  }
}

export class FakeProcess implements TaskProcess {
  readonly pid = 4243;
  readonly stream = new FakeStream();
  readonly signals: number[] = [];
  private readonly end = Promise.withResolvers<Exit>();

  constructor(readonly spec: ExecSpec) {}

  exit(code: number): void {
    this.end.resolve({ code, at: Date.now(), oomKilled: false });
    this.stream.finish();
  }

  wait(): Promise<Exit> {
    return this.end.promise;
  }

  async resize(): Promise<void> {
    await Promise.resolve();
  }

  async kill(signal: number): Promise<void> {
    this.signals.push(signal);
  }
}

/** A task whose life the test writes. SIGKILL ends it at once; other signals are remembered. */
export class FakeTask implements Task {
  readonly id: string;
  readonly pid = 4242;
  readonly signals: number[] = [];
  readonly streams: FakeStream[] = [];
  readonly processes: FakeProcess[] = [];
  state: 'created' | 'running' | 'ended' | 'deleted' = 'created';
  failStart: Error | undefined;
  failExec: Error | undefined;
  private readonly end = Promise.withResolvers<Exit>();

  constructor(
    readonly options: CreateTask,
    private readonly onDelete: () => void,
  ) {
    this.id = options.id;
  }

  exit(code: number, more: Partial<Exit> = {}): void {
    this.state = 'ended';
    for (const stream of this.streams) stream.finish();
    this.end.resolve({ code, at: Date.now(), oomKilled: false, ...more });
  }

  async start(): Promise<void> {
    if (this.failStart) throw this.failStart;
    this.state = 'running';
  }

  wait(): Promise<Exit> {
    return this.end.promise;
  }

  async attach(): Promise<TaskStream> {
    const stream = new FakeStream();
    this.streams.push(stream);
    return stream;
  }

  async resize(): Promise<void> {
    await Promise.resolve();
  }

  async kill(signal: number): Promise<void> {
    if (this.state !== 'running') throw new EngineError('conflict', 'the process is gone');
    this.signals.push(signal);
    if (signal === 9) this.exit(137);
  }

  async killAll(): Promise<void> {
    this.exit(137);
  }

  async pause(): Promise<void> {
    await Promise.resolve();
  }

  async resume(): Promise<void> {
    await Promise.resolve();
  }

  async update(): Promise<void> {
    await Promise.resolve();
  }

  usage(): Promise<TaskUsage> {
    return Promise.reject(new Error('the fake has no usage'));
  }

  async pids(): Promise<number[]> {
    return [this.pid];
  }

  async exec(_execId: string, spec: ExecSpec): Promise<TaskProcess> {
    if (this.failExec) throw this.failExec;
    const process = new FakeProcess(spec);
    this.processes.push(process);
    return process;
  }

  async delete(): Promise<void> {
    this.state = 'deleted';
    this.onDelete();
  }
}

/** A runtime that runs nothing. */
export class FakeRuntime implements RuntimeDriver {
  readonly path = '/usr/bin/fake-runtime';
  readonly tasks: FakeTask[] = [];
  /** What `find` says of an id; absent when nothing is said. */
  readonly found = new Map<string, FoundTask>();
  failCreate: Error | undefined;
  /** Fails the start of every task that is made from now on. */
  failStart: Error | undefined;
  live = 0;

  async create(options: CreateTask): Promise<Task> {
    if (this.failCreate) throw this.failCreate;
    this.live++;
    const task = new FakeTask(options, () => this.live--);
    task.failStart = this.failStart;
    this.tasks.push(task);
    return task;
  }

  get last(): FakeTask {
    const task = this.tasks.at(-1);
    if (!task) throw new Error('no task was made');
    return task;
  }

  async find({ id }: { id: string }): Promise<FoundTask> {
    return this.found.get(id) ?? { state: 'absent' };
  }

  async version(): Promise<string> {
    return 'fake 1.0';
  }

  async close(): Promise<void> {
    await Promise.resolve();
  }
}

/** Remembers nothing, and knows one option. */
export class FakeLog implements LogDriver {
  readonly lines: LogEntry[] = [];

  validate(options: Readonly<Record<string, string>>): void {
    for (const key of Object.keys(options)) {
      if (key !== 'known') throw new EngineError('invalid-parameter', `unknown log opt '${key}' for json-file log driver`);
    }
  }

  target = async () => ({ kind: 'none' as const });
  path = () => '/logs/x';

  async *read(): AsyncIterable<LogEntry> {
    yield* this.lines;
  }

  remove = async () => undefined;
  close = async () => undefined;
}

/** A source of ready-made drivers, each under its kind and name. */
export function fakeSource(
  drivers: readonly { kind: DriverKind; name: string; driver: unknown; capabilities?: AnyManifest['capabilities'] }[],
): DriverSource {
  const manifests = drivers.map(({ kind, name, driver, capabilities = [] }) => ({
    kind,
    name,
    capabilities,
    probe: async () => ({ ok: true }),
    open: async () => driver,
  }));
  return {
    label: 'fakes',
    find: async (kind, name) => manifests.find((one) => one.kind === kind && one.name === name) as never,
    names: (kind) => manifests.filter((one) => one.kind === kind).map(({ name }) => name),
  };
}
