import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Why no etcd can be run here; `undefined` when it can. */
export function whyNoEtcd(): string | undefined {
  const missing = ['etcd', 'etcdctl'].find((name) => spawnSync('sh', ['-c', `command -v ${name}`]).status !== 0);
  return missing && `needs the program ${missing} (packages etcd-server and etcd-client)`;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}

export interface EtcdOptions {
  /** Where it listens; every host of a test reaches it there. */
  readonly address?: string;
  /** Runs it elsewhere: the words before the command, such as `nsenter --net=PATH --`. */
  readonly wrapper?: readonly string[];
  /** Paths of its certificate and key, and of the CA of its clients; the certificate is for localhost. */
  readonly tls?: { readonly cert: string; readonly key: string; readonly ca: string };
}

/** A real etcd with a folder of its own, which can be killed and come back. */
export class Etcd {
  readonly folder = mkdtempSync(join(tmpdir(), 'gantry-etcd-'));
  private child: ChildProcess | undefined;

  private constructor(
    private readonly options: EtcdOptions,
    readonly port: number,
    private readonly peerPort: number,
  ) {}

  static async start(options: EtcdOptions = {}): Promise<Etcd> {
    const fixed = options.wrapper !== undefined;
    const etcd = new Etcd(options, fixed ? 2379 : await freePort(), fixed ? 2380 : await freePort());
    await etcd.up();
    return etcd;
  }

  get endpoint(): string {
    return `${this.options.tls ? 'localhost' : this.address}:${this.port}`;
  }

  private get address(): string {
    return this.options.address ?? '127.0.0.1';
  }

  /** For `--cluster-store`. */
  get url(): string {
    return `etcd://${this.endpoint}/test`;
  }

  async up(): Promise<void> {
    const { tls, wrapper = [] } = this.options;
    const scheme = tls ? 'https' : 'http';
    const peer = `http://127.0.0.1:${this.peerPort}`;
    const flags = {
      'data-dir': this.folder,
      'listen-client-urls': `${scheme}://${this.address}:${this.port}`,
      'advertise-client-urls': `${scheme}://${this.endpoint}`,
      'listen-peer-urls': peer,
      'initial-advertise-peer-urls': peer,
      'initial-cluster': `default=${peer}`,
      'log-level': 'error',
      logger: 'zap',
      ...(tls && { 'cert-file': tls.cert, 'key-file': tls.key, 'client-cert-auth': 'true', 'trusted-ca-file': tls.ca }),
    };
    const command = [...wrapper, 'etcd', ...Object.entries(flags).map(([flag, value]) => `--${flag}=${value}`)];
    this.child = spawn(command[0] as string, command.slice(1), { stdio: ['ignore', 'ignore', 'pipe'] });
    let log = '';
    this.child.stderr?.on('data', (chunk: Buffer) => (log += chunk.toString()));
    const until = Date.now() + 20_000;
    while (Date.now() < until) {
      if (this.child.exitCode !== null) throw new Error(`etcd ended:\n${log.slice(-2000)}`);
      const health = this.ctl('endpoint', 'health');
      // With authentication on, a stranger is told so much and no more.
      if (health.status === 0 || /user name is empty/.test(health.stdout + health.stderr)) return;
      await new Promise((done) => setTimeout(done, 50));
    }
    throw new Error(`etcd does not answer:\n${log.slice(-2000)}`);
  }

  /** Ends it as a crash does, or holds it (`SIGSTOP`) so that it accepts connections and answers nothing. */
  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const child = this.child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    if (signal === 'SIGSTOP' || signal === 'SIGCONT') return void child.kill(signal);
    const ended = once(child, 'exit');
    child.kill('SIGCONT');
    child.kill(signal);
    await ended;
  }

  async destroy(): Promise<void> {
    await this.kill();
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** etcdctl, as whoever `more` says. */
  ctl(...args: string[]): { status: number; stdout: string; stderr: string } {
    const { tls, wrapper = [] } = this.options;
    const access = tls ? ['--cacert', tls.ca, '--cert', tls.cert, '--key', tls.key] : [];
    const endpoint = `${tls ? 'https' : 'http'}://${this.endpoint}`;
    const command = [...wrapper, 'etcdctl', '--command-timeout=3s', '--dial-timeout=2s', `--endpoints=${endpoint}`, ...access, ...args];
    const { status, stdout, stderr } = spawnSync(command[0] as string, command.slice(1), {
      encoding: 'utf8',
      env: { ...process.env, ETCDCTL_API: '3' },
    });
    return { status: status ?? -1, stdout, stderr };
  }

  /** Keys below a prefix, one a line. */
  keys(prefix = '/'): string[] {
    return this.ctl('get', '--prefix', '--keys-only', prefix)
      .stdout.split('\n')
      .filter((line) => line !== '');
  }
}
