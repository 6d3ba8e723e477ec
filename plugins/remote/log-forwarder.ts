import { randomBytes } from 'node:crypto';
import { constants, openSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { Socket } from 'node:net';
import { basename, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { EngineError, isKind, messageOf } from '@gantry/core/contracts/errors.js';
import type { LogContainer, LogEntry, ReadLogs } from '@gantry/core/contracts/log.js';
import type { DriverEnv } from '@gantry/core/contracts/manifest.js';
import type { Plugin } from '../host/plugin.js';
import type { RequestOf } from '../sdk/protocol/methods.js';
import { encodeEntry } from '../sdk/server/log-entry.js';

export interface ForwarderOptions {
  readonly plugin: Plugin;
  readonly info: RequestOf<'LogDriver.StartLogging'>['Info'];
  readonly container: LogContainer;
  /** Entries of the engine's own copy. */
  read(request: ReadLogs): AsyncIterable<LogEntry>;
  readonly env: DriverEnv;
}

/** How far the plugin has had the log: entries of one instant are told apart by their number. */
interface Position {
  readonly time: string;
  readonly count: number;
  /** The FIFO of the run. A daemon that finds another one's here ends it. */
  readonly file: string;
}

const MKFIFO = '/usr/bin/mkfifo';
/** Between two looks whether the plugin was started anew. */
const LOOK_MS = 1000;
/** That a start of the container waits for the end of the run before. */
const FINISH_MS = 5000;
/** Entries between two notes of the position; after a daemon's death so many may come twice, and none is lost. */
const NOTE_EVERY = 256;

/** Hands one container's log on to a plugin: from where it stopped last, until the container ends. */
export class LogForwarder {
  private readonly file: string;
  private readonly positionFile: string;
  private readonly gone = new AbortController();
  private pipe: { socket: Socket; fd: number } | undefined;
  private begun: Promise<void> | undefined;
  private working: Promise<void> | undefined;
  private group: { stdout?: { id: string; ordinal: number }; stderr?: { id: string; ordinal: number } } = {};
  private life = '';

  constructor(private readonly options: ForwarderOptions) {
    const { env, container } = options;
    // Of this run: a plugin may still be busy with the one before.
    this.file = join(env.runRoot, 'fifo', `${container.id}-${randomBytes(8).toString('hex')}`);
    this.positionFile = join(container.directory, 'log-position.json');
  }

  /** The FIFO stands and the plugin knows it. A plugin that refuses makes the container's start fail. */
  begin(): Promise<void> {
    this.begun ??= this.open();
    this.begun.catch(() => (this.begun = undefined));
    return this.begun;
  }

  follow(ended: Promise<void>, done: () => void): void {
    if (this.working) return;
    const { log } = this.options.env;
    this.working = this.run(ended)
      .catch((error: unknown) => log.warn('handing on a log failed', { container: this.options.container.id, error: messageOf(error) }))
      .finally(done);
  }

  /** Resolves when the plugin was told of the end, of a run that ended or of a start that failed; a plugin that hangs is not waited for. */
  async finish(): Promise<void> {
    if (!this.working && this.begun) this.working = this.begun.then(() => this.end());
    await Promise.race([this.working?.catch(() => undefined), sleep(FINISH_MS, undefined, { ref: false })]);
  }

  /** The daemon stops; the next one goes on from the position. */
  leave(): void {
    this.gone.abort();
    this.pipe?.socket.destroy();
  }

  /** The container is removed, often right after it ended: the plugin still gets its last lines and the end, as far as it takes them now. */
  async stop(): Promise<void> {
    await this.finish();
    this.leave();
    await this.working;
    rmSync(this.file, { force: true });
    rmSync(this.positionFile, { force: true });
  }

  private async open(): Promise<void> {
    const { plugin, env, info } = this.options;
    await mkdir(dirname(this.file), { recursive: true, mode: 0o700 });
    rmSync(this.file, { force: true });
    const { code, stderr } = await env.host.process.run({ path: MKFIFO, args: [MKFIFO, '-m', '600', this.file], env: [] });
    if (code !== 0) throw new EngineError('system', `cannot make a FIFO for the log: ${stderr.toString().trim()}`);
    // Held open for both directions, as Docker's engine does: a plugin that is started anew finds what is in the pipe.
    const fd = openSync(this.file, constants.O_RDWR | constants.O_NONBLOCK);
    this.pipe = { socket: new Socket({ fd, readable: false, writable: true }), fd };
    this.pipe.socket.on('error', () => undefined);
    try {
      await plugin.call('LogDriver.StartLogging', { File: this.toldFile, Info: info });
      this.life = plugin.currentLife();
      const { file: former, ...position } = this.position();
      if (former !== '') {
        await plugin
          .call('LogDriver.StopLogging', { File: former })
          .catch((error: unknown) => plugin.refused('LogDriver.StopLogging', error as Error));
        rmSync(former, { force: true });
      }
      this.note(position);
    } catch (error) {
      this.pipe.socket.destroy();
      this.pipe = undefined;
      rmSync(this.file, { force: true });
      throw new EngineError((error as EngineError).kind, `failed to initialize logging driver: ${messageOf(error)}`, { cause: error });
    }
  }

  private get toldFile(): string {
    return this.options.plugin.place.pluginPath?.(this.file) ?? this.file;
  }

  private async run(ended: Promise<void>): Promise<void> {
    // After a restart of the daemon, the plugin may be away for a while.
    while (!this.gone.signal.aborted) {
      try {
        await this.begin();
        break;
      } catch (error) {
        if (!isKind(error, 'unavailable')) throw error;
        await sleep(LOOK_MS, undefined, { signal: this.gone.signal }).catch(() => undefined);
      }
    }
    const looking = setInterval(() => this.lookAfterPlugin(), LOOK_MS);
    try {
      await this.handOn(ended);
    } finally {
      clearInterval(looking);
    }
    if (!this.gone.signal.aborted) await this.end();
  }

  /** The plugin has all there is, however long it is away; it is told of the FIFO again if it was started anew since. */
  private async end(): Promise<void> {
    const { plugin } = this.options;
    while (!this.gone.signal.aborted) {
      try {
        await this.startAgain();
        await plugin.call('LogDriver.StopLogging', { File: this.toldFile }, { patience: 0 });
        // A plugin that was started anew meanwhile knew nothing of the FIFO, and left in it what is there.
        if (plugin.currentLife() === this.life) break;
      } catch (error) {
        if (!isKind(error, 'unavailable')) {
          plugin.refused('LogDriver.StopLogging', error as Error);
          break;
        }
        await sleep(LOOK_MS, undefined, { signal: this.gone.signal }).catch(() => undefined);
      }
    }
    this.pipe?.socket.destroy();
    this.pipe = undefined;
    this.begun = undefined;
    rmSync(this.file, { force: true });
    this.note(this.position());
  }

  private async handOn(ended: Promise<void>): Promise<void> {
    let { time, count } = this.position();
    const last = BigInt(time);
    let passed = 0;
    let noted = 0;
    const request = { stdout: true, stderr: true, follow: true, ended, signal: this.gone.signal, ...(last > 0n && { since: last }) };
    for await (const entry of this.options.read(request)) {
      // Entries of the instant where it stopped were handed on, so many of them.
      if (entry.time === last && passed++ < count && last > 0n) continue;
      await this.send(entry);
      if (this.gone.signal.aborted) break;
      count = String(entry.time) === time ? count + 1 : 1;
      time = String(entry.time);
      if (++noted % NOTE_EVERY === 0) this.note({ time, count });
    }
    this.note({ time, count });
  }

  private async send(entry: LogEntry): Promise<void> {
    const socket = this.pipe?.socket;
    if (!socket) return;
    const whole = entry.line.at(-1) === 0x0a;
    const line = whole ? entry.line.subarray(0, -1) : entry.line;
    const open = this.group[entry.stream];
    const partial = !whole || open !== undefined;
    const piece = partial ? { id: open?.id ?? randomBytes(32).toString('hex'), ordinal: (open?.ordinal ?? 0) + 1, last: whole } : undefined;
    if (whole) delete this.group[entry.stream];
    else if (piece) this.group[entry.stream] = { id: piece.id, ordinal: piece.ordinal };
    const frame = encodeEntry({ source: entry.stream, time: entry.time, line, partial, ...(piece && { piece }) });
    if (socket.write(frame)) return;
    await new Promise<void>((done) => {
      const go = (): void => {
        socket.off('drain', go);
        socket.off('close', go);
        done();
      };
      socket.on('drain', go);
      socket.on('close', go);
    });
  }

  private lookAfterPlugin(): void {
    const { log } = this.options.env;
    this.startAgain().catch((error: unknown) => {
      if (isKind(error, 'unavailable')) return;
      log.warn('a restarted log plugin refused a log', { container: this.options.container.id, error: messageOf(error) });
    });
  }

  /** A plugin that was started anew does not know the FIFO, and nobody but the engine can tell it. */
  private async startAgain(): Promise<void> {
    const { plugin, info } = this.options;
    const life = plugin.currentLife();
    if (life === this.life) return;
    const before = this.life;
    this.life = life;
    try {
      await plugin.call('LogDriver.StartLogging', { File: this.toldFile, Info: info }, { patience: 0 });
    } catch (error) {
      if (isKind(error, 'unavailable')) this.life = before;
      throw error;
    }
  }

  private position(): Position {
    try {
      const { time, count, file } = JSON.parse(readFileSync(this.positionFile, 'utf8')) as Position;
      if (/^\d+$/.test(time) && Number.isSafeInteger(count)) return { time, count, file: inFolder(file, dirname(this.file)) };
    } catch {
      // the first run
    }
    return { time: '0', count: 0, file: '' };
  }

  private note(position: Pick<Position, 'time' | 'count'>): void {
    try {
      writeFileSync(`${this.positionFile}.new`, JSON.stringify({ ...position, file: this.pipe ? this.toldFile : '' }), { mode: 0o600 });
      renameSync(`${this.positionFile}.new`, this.positionFile);
    } catch (error) {
      this.options.env.log.warn('the position in a log could not be noted', {
        container: this.options.container.id,
        error: messageOf(error),
      });
    }
  }
}

/** A record is not believed when it names a file elsewhere. */
const inFolder = (file: unknown, folder: string): string => (typeof file === 'string' && file === join(folder, basename(file)) ? file : '');
