import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Why Debian's dockerd cannot be run beside; `undefined` when it can. */
export function whyNoDockerd(): string | undefined {
  if (process.getuid?.() !== 0) return 'needs root';
  for (const program of ['dockerd', 'containerd', 'unshare']) {
    if (spawnSync('sh', ['-c', `command -v ${program}`]).status !== 0) return `needs the program ${program}`;
  }
  return undefined;
}

/**
 * A dockerd in a mount namespace of its own, where /run/docker/plugins is a folder of the test: the daemon looks nowhere else for
 * sockets, and the machine's own plugins are none of its business.
 */
export class Dockerd {
  private constructor(
    readonly folder: string,
    private readonly child: ChildProcess,
  ) {}

  static async start(flags: readonly string[] = [], prepare?: (plugins: string) => Promise<unknown>): Promise<Dockerd> {
    const folder = mkdtempSync('/var/tmp/gantry-peer-');
    for (const name of ['plugins', 'run', 'data']) mkdirSync(join(folder, name), { mode: 0o755 });
    writeFileSync(join(folder, 'daemon.json'), '{}');
    // What it needs from its start on.
    await prepare?.(join(folder, 'plugins'));
    const log = openSync(join(folder, 'log'), 'w');
    const daemon = [
      'dockerd',
      '--host',
      `unix://${folder}/docker.sock`,
      '--data-root',
      `${folder}/data`,
      '--exec-root',
      `${folder}/run`,
      '--pidfile',
      `${folder}/pid`,
      '--config-file',
      `${folder}/daemon.json`,
      '--bridge',
      'none',
      '--iptables=false',
      '--ip-forward=false',
      '--storage-driver',
      'vfs',
      '--userland-proxy=false',
      ...flags,
    ];
    const script = `mkdir -p /run/docker && mount -t tmpfs none /run/docker && mkdir /run/docker/plugins && mount --bind ${folder}/plugins /run/docker/plugins && exec "$@"`;
    const child = spawn('unshare', ['--mount', '--propagation', 'private', 'sh', '-c', script, 'sh', ...daemon], {
      stdio: ['ignore', log, log],
    });
    const peer = new Dockerd(folder, child);
    for (const until = Date.now() + 120_000; Date.now() < until;) {
      if (child.exitCode !== null) break;
      if (existsSync(join(folder, 'docker.sock')) && peer.docker('version').code === 0) return peer;
      await new Promise((done) => setTimeout(done, 100));
    }
    const said = readFileSync(join(folder, 'log'), 'utf8').slice(-2000);
    await peer.stop();
    throw new Error(`dockerd did not start:\n${said}`);
  }

  /** A command that is run where the daemon sees files: FIFOs of logs are in its own /run/docker. */
  get inside(): string[] {
    return ['nsenter', `--mount=/proc/${this.child.pid}/ns/mnt`];
  }

  get pluginFolder(): string {
    return join(this.folder, 'plugins');
  }

  docker(...args: string[]): { code: number; stdout: string; stderr: string } {
    const { status, stdout, stderr } = spawnSync('docker', args, {
      encoding: 'utf8',
      env: { ...process.env, DOCKER_HOST: `unix://${this.folder}/docker.sock` },
      timeout: 180_000,
    });
    return { code: status ?? -1, stdout: stdout ?? '', stderr: stderr ?? '' };
  }

  async stop(): Promise<void> {
    const { child } = this;
    if (child.exitCode === null && child.signalCode === null) {
      const ids = this.docker('ps', '-aq').stdout.split('\n').filter(Boolean);
      if (ids.length > 0) this.docker('rm', '-f', '-v', ...ids);
      const ended = new Promise((done) => child.once('exit', done));
      child.kill('SIGTERM');
      await ended;
    }
    rmSync(this.folder, { recursive: true, force: true });
  }
}
