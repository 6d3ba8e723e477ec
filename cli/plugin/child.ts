import { type ChildProcess, spawn } from 'node:child_process';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** Milliseconds until it listens: a machine that is busy may take its time to start a program. */
const PATIENCE = 60_000;

/** A plugin that this program runs by a command line, and may kill: with all that it started. */
export class PluginProcess {
  private child: ChildProcess | undefined;

  constructor(
    private readonly command: string,
    readonly socket: string,
    private readonly folder: string,
  ) {}

  get running(): boolean {
    return this.child !== undefined && this.child.exitCode === null && this.child.signalCode === null;
  }

  /** Resolves when it listens. The command finds its socket in PLUGIN_SOCKET. */
  async start(): Promise<void> {
    const child = spawn('sh', ['-c', this.command], {
      cwd: this.folder,
      env: { ...process.env, PLUGIN_SOCKET: this.socket },
      stdio: ['ignore', 'inherit', 'inherit'],
      detached: true,
    });
    this.child = child;
    for (const until = performance.now() + PATIENCE; performance.now() < until; await sleep(30)) {
      if (await listens(this.socket)) return;
      if (!this.running)
        throw new Error(`the plugin ended with ${child.exitCode ?? child.signalCode} before it listened on ${this.socket}`);
    }
    await this.kill('SIGKILL');
    throw new Error(`the plugin does not listen on ${this.socket} (its command finds the path in PLUGIN_SOCKET)`);
  }

  async kill(signal: NodeJS.Signals): Promise<void> {
    const { child } = this;
    if (!child?.pid || !this.running) return;
    const ended = new Promise((done) => child.once('exit', done));
    process.kill(-child.pid, signal);
    await ended;
  }
}

const listens = (socket: string): Promise<boolean> =>
  new Promise((done) => {
    const probe = connect(socket);
    probe.once('connect', () => {
      probe.destroy();
      done(true);
    });
    probe.once('error', () => done(false));
  });
