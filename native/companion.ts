import { mkdir, rm } from 'node:fs/promises';
import { once } from 'node:events';
import { connect, Socket } from 'node:net';
import { basename, dirname, resolve } from 'node:path';
import type { HostNet } from '@gantry/core/contracts/host-net.js';
import type { Companion, CompanionOptions, HostProcess } from '@gantry/core/contracts/host-process.js';
import { binFolder } from './addon.js';

/** One that takes longer is left to itself. */
const QUIT_MS = 5_000;

/** The daemon's side of gantry-dns and gantry-proxy (native/companion). */
export class CompanionProgram implements Companion {
  /** A connection that says nothing and breaks when the program ends. */
  private watcher: Socket | undefined;

  constructor(
    private readonly net: Pick<HostNet, 'exchange'>,
    private readonly process: Pick<HostProcess, 'spawn' | 'pipe' | 'closeFd'>,
    private readonly options: CompanionOptions,
  ) {}

  get connected(): boolean {
    return this.watcher !== undefined;
  }

  async find(): Promise<readonly string[] | undefined> {
    let words: readonly string[];
    try {
      words = await this.ask(['hello']);
    } catch {
      return undefined;
    }
    const [version, ...rest] = words;
    if (version !== this.options.version) {
      await this.quit();
      return undefined;
    }
    await this.watch();
    return rest;
  }

  async start(): Promise<void> {
    const { socket } = this.options;
    const program = resolve(binFolder, this.options.program);
    await mkdir(dirname(socket), { recursive: true, mode: 0o700 });
    await rm(socket, { force: true });
    const [read, write] = this.process.pipe();
    try {
      this.process.spawn({ path: program, args: [basename(program), socket], env: [], fds: [-1, -1, -1, write], newSession: true });
    } catch (error) {
      this.process.closeFd(read);
      throw error;
    } finally {
      this.process.closeFd(write);
    }
    // It closes its end when it listens, and so does its death.
    const ready = new Socket({ fd: read, readable: true, writable: false }).resume();
    await once(ready, 'close');
    await this.watch();
  }

  async ask(lines: readonly string[], descriptors: readonly number[] = []): Promise<readonly string[]> {
    const answer = (await this.net.exchange(this.options.socket, `${lines.join('\n')}\n`, descriptors)).trim();
    const [first, ...words] = answer.split(' ');
    if (first !== 'ok') throw new Error(answer || 'it ended');
    return words;
  }

  disconnect(): void {
    const { watcher } = this;
    this.watcher = undefined;
    watcher?.destroy();
  }

  async quit(): Promise<void> {
    const { watcher } = this;
    this.watcher = undefined;
    // Its connections end with the process, a moment after the answer.
    const ended = watcher?.closed ? undefined : watcher && once(watcher.ref(), 'close', { signal: AbortSignal.timeout(QUIT_MS) });
    ended?.catch(() => undefined);
    const told = await this.net.exchange(this.options.socket, 'quit\n', []).catch(() => undefined);
    if (told !== undefined) await ended?.catch(() => undefined);
    watcher?.destroy();
  }

  private async watch(): Promise<void> {
    const watcher = connect(this.options.socket);
    await once(watcher, 'connect');
    watcher.unref();
    watcher.on('error', () => undefined);
    watcher.on('close', () => {
      if (this.watcher !== watcher) return;
      this.watcher = undefined;
      this.options.ended();
    });
    // Reading is what notices the end.
    watcher.resume();
    this.watcher = watcher;
  }
}
