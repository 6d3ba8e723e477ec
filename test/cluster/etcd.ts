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

interface Ports {
  readonly client: number;
  readonly peer: number;
}

const freePorts = async (): Promise<Ports> => ({ client: await freePort(), peer: await freePort() });

/** How often other ports are tried: a free one may be taken before etcd has it. */
const ATTEMPTS = 5;

/** A real etcd with a folder of its own, which can be killed and come back. */
export class Etcd {
  readonly folder = mkdtempSync(join(tmpdir(), 'gantry-etcd-'));
  private child: ChildProcess | undefined;
  private log = '';

  private constructor(
    private readonly options: EtcdOptions,
    private readonly ports: Ports,
    /** By name, all members' peer ports, this one's too. */
    private readonly members: Readonly<Record<string, number>>,
    private readonly name: string,
  ) {}

  /** One alone. */
  static async start(options: EtcdOptions = {}): Promise<Etcd> {
    if (options.wrapper !== undefined) return (await Etcd.startAll(options, [{ client: 2379, peer: 2380 }]))[0] as Etcd;
    return (await Etcd.startCluster(1, options))[0] as Etcd;
  }

  /** Several that are one store, which works while more than half of them do. */
  static async startCluster(count: number, options: EtcdOptions = {}): Promise<Etcd[]> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await Etcd.startAll(options, await Promise.all(Array.from({ length: count }, freePorts)));
      } catch (error) {
        if (attempt === ATTEMPTS || !/address already in use/.test(String(error))) throw error;
      }
    }
  }

  private static async startAll(options: EtcdOptions, ports: readonly Ports[]): Promise<Etcd[]> {
    const members = Object.fromEntries(ports.map(({ peer }, i) => [`member${i}`, peer]));
    const made = ports.map((own, i) => new Etcd(options, own, members, `member${i}`));
    // None answers before more than half of them are there.
    for (const etcd of made) etcd.launch();
    try {
      for (const etcd of made) await etcd.whenUp();
    } catch (error) {
      for (const etcd of made) await etcd.destroy();
      throw error;
    }
    return made;
  }

  get port(): number {
    return this.ports.client;
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

  /** Again, after a {@link kill}. */
  async up(): Promise<void> {
    this.launch();
    await this.whenUp();
  }

  private launch(): void {
    const { tls, wrapper = [] } = this.options;
    const scheme = tls ? 'https' : 'http';
    const peer = `http://127.0.0.1:${this.ports.peer}`;
    const flags = {
      name: this.name,
      'data-dir': this.folder,
      'listen-client-urls': `${scheme}://${this.address}:${this.port}`,
      'advertise-client-urls': `${scheme}://${this.endpoint}`,
      'listen-peer-urls': peer,
      'initial-advertise-peer-urls': peer,
      'initial-cluster': Object.entries(this.members)
        .map(([name, port]) => `${name}=http://127.0.0.1:${port}`)
        .join(),
      'log-level': 'error',
      logger: 'zap',
      ...(tls && { 'cert-file': tls.cert, 'key-file': tls.key, 'client-cert-auth': 'true', 'trusted-ca-file': tls.ca }),
    };
    const command = [...wrapper, 'etcd', ...Object.entries(flags).map(([flag, value]) => `--${flag}=${value}`)];
    this.child = spawn(command[0] as string, command.slice(1), { stdio: ['ignore', 'ignore', 'pipe'] });
    this.log = '';
    this.child.stderr?.on('data', (chunk: Buffer) => (this.log += chunk.toString()));
  }

  private async whenUp(): Promise<void> {
    const until = Date.now() + 90_000;
    while (Date.now() < until) {
      if (this.child?.exitCode !== null) throw new Error(`etcd ended:\n${this.log.slice(-2000)}`);
      const health = this.ctl('endpoint', 'health');
      // With authentication on, a stranger is told so much and no more.
      if (health.status === 0 || /user name is empty/.test(health.stdout + health.stderr)) return;
      await new Promise((done) => setTimeout(done, 50));
    }
    throw new Error(`etcd does not answer:\n${this.log.slice(-2000)}`);
  }

  /** Ends it as a crash does, or holds it (`SIGSTOP`) so that it accepts connections and answers nothing. */
  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const child = this.child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    if (signal === 'SIGSTOP' || signal === 'SIGCONT') return void child.kill(signal);
    const ended = once(child, 'exit');
    child.kill(signal);
    // One that is held hears of nothing else before it goes on; a killed one must not do anything that was asked of it meanwhile.
    if (signal !== 'SIGKILL') child.kill('SIGCONT');
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

  /** For how many seconds each of these keys would stay if nobody did anything; a key without lease is left out. */
  remaining(keys: readonly string[]): number[] {
    return keys.flatMap((key) => {
      // A lease is a number of 63 bits, which JSON.parse would round.
      const lease = /"lease":(\d+)/.exec(this.ctl('get', '--write-out=json', key).stdout)?.[1];
      if (lease === undefined) return [];
      const told = this.ctl('lease', 'timetolive', BigInt(lease).toString(16), '--write-out=json').stdout;
      return [(JSON.parse(told) as { ttl: number }).ttl];
    });
  }

  /** Keys below a prefix, one a line. */
  keys(prefix = '/'): string[] {
    return this.ctl('get', '--prefix', '--keys-only', prefix)
      .stdout.split('\n')
      .filter((line) => line !== '');
  }
}
