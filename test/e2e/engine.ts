import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmdirSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { createServer } from 'node:net';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Footprint, type KernelState, kernelState, leftBehind } from './audit.js';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** Why no engine can be run here; `undefined` when it can. */
export function whyNoEngine(): string | undefined {
  if (process.getuid?.() !== 0) return 'needs root';
  if (!existsSync(join(root, 'native/build/bin/gantry-runtime'))) return 'the native programs are not built';
  if (!existsSync(join(root, 'cli/dist/gantryd/main.js'))) return 'the daemon is not compiled (npm run build)';
  return undefined;
}

/** An engine leaves its parent cgroup where it is, as dockerd does; a test does not. One that is not empty stays and is found by the next audit. */
function removeEmptyCgroups(parent: string): void {
  const cgroups = '/sys/fs/cgroup';
  for (const place of [cgroups, ...readdirSync(cgroups).map((name) => join(cgroups, name))]) {
    try {
      rmdirSync(join(place, parent));
    } catch {
      // not there, or in use
    }
  }
}

const RANGES = 200;

/**
 * A number that no other live engine of a test has, for its addresses: whoever runs tests beside these on this machine asks here too.
 * A name of the kernel's holds it, which ends with this process at the latest.
 */
async function claimRange(): Promise<{ number: number; release: () => void }> {
  for (let step = 0; step < RANGES; step++) {
    const number = (process.pid * 7 + step) % RANGES;
    const claim = createServer().listen(`\0gantry-e2e-range-${number}`);
    try {
      await once(claim, 'listening');
    } catch {
      continue;
    }
    claim.unref();
    return { number, release: () => void claim.close() };
  }
  throw new Error('every address range for tests is taken');
}

/** One daemon of its own: data root, run-time root, bridge and socket are in a new folder and go with it. */
export class Engine {
  private constructor(
    readonly folder: string,
    readonly socket: string,
    private readonly flags: readonly string[],
    readonly footprint: Footprint,
    private readonly before: KernelState,
    private readonly program: readonly [string, ...string[]],
    private readonly releaseRange: () => void,
  ) {}

  private child: ChildProcess | undefined;
  /** What the daemon printed, all its lives together. */
  log = '';

  /** `program` is another build of the daemon, or one that starts it; `within` the network namespace that is its host then. */
  static async start(
    flags: readonly string[] = [],
    program: readonly [string, ...string[]] = [join(root, 'cli/bin/gantryd')],
    within = '',
  ): Promise<Engine> {
    const folder = mkdtempSync('/tmp/gantry-e2e-');
    const at = flags.indexOf('--data-root');
    const dataRoot = at < 0 ? join(folder, 'data') : (flags[at + 1] ?? '');
    const instance = createHash('sha256').update(dataRoot).digest('hex').slice(0, 8);
    const footprint = { folder, instance, cgroupParent: `/${basename(folder)}`, within };
    const before = kernelState(footprint);
    const { number, release } = await claimRange();
    const socket = join(folder, 'gantry.sock');
    const standard = [
      '--host',
      `unix://${socket}`,
      '--data-root',
      dataRoot,
      '--exec-root',
      join(folder, 'run'),
      '--pidfile',
      join(folder, 'pid'),
      '--config-file',
      '/dev/null',
      '--cgroup-parent',
      footprint.cgroupParent,
      '--plugin-socket-folder',
      join(folder, 'plugins'),
      '--plugin-spec-folder',
      join(folder, 'plugin-specs'),
    ];
    const network = flags.includes('--bridge')
      ? []
      : [
          '--bridge',
          `gtest${number}`,
          '--bip',
          `10.${100 + (number >> 4)}.${(number & 15) * 16}.1/24`,
          '--default-address-pool',
          `base=10.${120 + (number >> 4)}.0.0/16,size=24`,
        ];
    const engine = new Engine(folder, socket, [...standard, ...network, ...flags], footprint, before, program, release);
    await engine.up();
    return engine;
  }

  /** Where a test puts the sockets of plugins. */
  get pluginFolder(): string {
    return join(this.folder, 'plugins');
  }

  get pid(): number {
    return this.child?.pid ?? 0;
  }

  /** Starts the daemon on what is there; resolves when it answers. */
  async up(env: Readonly<Record<string, string>> = {}): Promise<void> {
    const [command, ...words] = this.program;
    const child = spawn(command, [...words, ...this.flags], {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, ...env },
    });
    this.child = child;
    child.stderr?.on('data', (chunk: Buffer) => (this.log += chunk.toString()));
    let ended: number | null | undefined;
    child.on('exit', (code) => (ended = code));
    const until = Date.now() + 90_000 * Number(process.env['GANTRY_SLOW'] ?? 1);
    while (Date.now() < until) {
      if (ended !== undefined) throw new Error(`gantryd ended with ${ended}:\n${this.log.slice(-4000)}`);
      if (existsSync(this.socket) && (await this.ping())) return;
      await new Promise((done) => setTimeout(done, 20));
    }
    throw new Error(`gantryd does not answer:\n${this.log.slice(-4000)}`);
  }

  ping(): Promise<boolean> {
    return new Promise((done) => {
      const call = request({ socketPath: this.socket, path: '/_ping', timeout: 2000 }, (answer) => {
        answer.resume();
        done(answer.statusCode === 200);
      });
      call.on('error', () => done(false));
      call.end();
    });
  }

  /** Ends the daemon by a signal; containers stay. */
  async down(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const child = this.child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise<void>((done) => child.once('exit', () => done()));
    child.kill(signal);
    await ended;
  }

  /** Removes every container, ends the daemon, and says what is left of it in the kernel. */
  async stop(): Promise<Partial<KernelState>> {
    if (this.child && this.child.exitCode === null && this.child.signalCode === null) {
      const ids = this.docker(['ps', '-aq'])
        .stdout.split('\n')
        .filter((id) => id !== '');
      if (ids.length > 0) this.docker(['rm', '-f', '-v', ...ids]);
    }
    await this.down();
    let left = leftBehind(this.before, kernelState(this.footprint));
    // A shim ends a moment after it told of its container's end, and the kernel takes its time over namespaces.
    for (const until = Date.now() + 60_000; Date.now() < until && Object.keys(left).length > 0;) {
      await new Promise((done) => setTimeout(done, 40));
      left = leftBehind(this.before, kernelState(this.footprint));
    }
    removeEmptyCgroups(this.footprint.cgroupParent);
    this.releaseRange();
    if (!readFileSync('/proc/self/mountinfo', 'utf8').includes(this.folder)) rmSync(this.folder, { recursive: true, force: true });
    return left;
  }

  /** What is in the kernel now beyond what was there before this engine. */
  left(): Partial<KernelState> {
    return leftBehind(this.before, kernelState(this.footprint));
  }

  /** The stock docker CLI against this engine. */
  docker(args: readonly string[], options: { input?: string; timeout?: number } = {}): { code: number; stdout: string; stderr: string } {
    return this.cli('docker', args, options);
  }

  gantry(args: readonly string[], options: { input?: string; timeout?: number } = {}): { code: number; stdout: string; stderr: string } {
    return this.cli(join(root, 'cli/bin/gantry'), args, options);
  }

  private cli(
    program: string,
    args: readonly string[],
    options: { input?: string; timeout?: number },
  ): { code: number; stdout: string; stderr: string } {
    const { status, stdout, stderr } = spawnSync(program, args, {
      encoding: 'utf8',
      env: {
        ...process.env,
        DOCKER_HOST: `unix://${this.socket}`,
        GANTRY_HOST: `unix://${this.socket}`,
        DOCKER_CONFIG: join(this.folder, 'docker-config'),
      },
      timeout: options.timeout ?? 120_000,
      maxBuffer: 64 << 20,
      input: options.input ?? '',
    });
    return { code: status ?? -1, stdout: stdout ?? '', stderr: stderr ?? '' };
  }

  /** The same without stopping this process meanwhile: for what talks to a server in it. */
  dockerBeside(args: readonly string[]): Promise<{ code: number; stdout: string; stderr: string }> {
    return new Promise((done) => {
      const child = spawn('docker', args, {
        stdio: ['ignore', 'pipe', 'pipe'],
        env: { ...process.env, DOCKER_HOST: `unix://${this.socket}` },
      });
      let stdout = '';
      let stderr = '';
      child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
      child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
      child.on('close', (code) => done({ code: code ?? -1, stdout, stderr }));
    });
  }

  /** One API call; the body parsed when it is JSON. */
  api<T = unknown>(method: string, path: string, body?: unknown): Promise<{ status: number; body: T }> {
    return new Promise((done, fail) => {
      const text = body === undefined ? undefined : JSON.stringify(body);
      const call = request(
        {
          socketPath: this.socket,
          method,
          path,
          headers: text === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) },
        },
        (answer) => {
          const chunks: Buffer[] = [];
          answer.on('data', (chunk: Buffer) => chunks.push(chunk));
          answer.on('error', fail);
          answer.on('end', () => {
            const content = Buffer.concat(chunks).toString();
            let parsed: unknown = content;
            try {
              parsed = JSON.parse(content);
            } catch {
              // a plain answer
            }
            done({ status: answer.statusCode ?? 0, body: parsed as T });
          });
        },
      );
      call.on('error', fail);
      call.end(text);
    });
  }
}

/** For suites that need nothing else. */
export async function startEngine(flags: readonly string[] = []): Promise<Engine> {
  return Engine.start(flags);
}
