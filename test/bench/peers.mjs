// The two daemons, each on its own socket and roots, and the registry that both pull from.
import { spawn, spawnSync } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { cpus, release } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { makeImage, startRegistry } from '../../cli/setup/trial-image.mjs';

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

class Peer {
  constructor(name, socket, child, image) {
    this.name = name;
    this.socket = socket;
    this.child = child;
    this.image = image;
    this.agent = new Agent({ keepAlive: true });
  }

  /** The same stock client for both. */
  docker(...args) {
    const { status, stdout, stderr } = spawnSync('docker', args, {
      encoding: 'utf8',
      env: { ...process.env, DOCKER_HOST: `unix://${this.socket}` },
      maxBuffer: 1 << 30,
    });
    if (status !== 0) throw new Error(`${this.name}: docker ${args.join(' ')} ended with ${status}: ${stderr}`);
    return stdout.trim();
  }

  api(method, path, body) {
    return new Promise((done, fail) => {
      const text = body === undefined ? undefined : JSON.stringify(body);
      const call = request(
        {
          socketPath: this.socket,
          agent: this.agent,
          method,
          path: `/v1.41${path}`,
          headers: text === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) },
        },
        (answer) => {
          const chunks = [];
          answer.on('data', (chunk) => chunks.push(chunk));
          answer.on('end', () => {
            const content = Buffer.concat(chunks);
            if (answer.statusCode >= 400) fail(new Error(`${this.name}: ${method} ${path}: ${answer.statusCode} ${content}`));
            else done(content);
          });
          answer.on('error', fail);
        },
      );
      call.on('error', fail);
      call.end(text);
    });
  }

  async stop() {
    this.agent.destroy();
    if (this.child.exitCode !== null) return;
    const ended = new Promise((done) => this.child.once('exit', done));
    this.child.kill('SIGTERM');
    await ended;
  }
}

async function waitFor(peer) {
  for (const until = Date.now() + 30_000; ;) {
    if (peer.child.exitCode !== null) throw new Error(`${peer.name} ended at its start`);
    if (existsSync(peer.socket)) {
      const up = await peer.api('GET', '/_ping').then(
        () => true,
        () => false,
      );
      if (up) return;
    }
    if (Date.now() > until) throw new Error(`${peer.name} does not answer`);
    await new Promise((done) => setTimeout(done, 50));
  }
}

const line = (command, ...args) => (spawnSync(command, args, { encoding: 'utf8' }).stdout ?? '').split('\n')[0].trim();

/** What was measured on, and beside what. */
export const versions = () => [
  `Linux ${release()}, ${cpus().length} cores (${cpus()[0].model.trim()})`,
  line('docker', '--version'),
  line('dockerd', '--version'),
  line('runc', '--version'),
  line('crun', '--version'),
];

/** Both on roots of their own below `parent`, with the same storage driver. */
export async function openPeers({ storageDriver = 'overlay2', parent = '/var/lib/gantry-bench' } = {}) {
  mkdirSync(parent, { recursive: true, mode: 0o700 });
  const folder = mkdtempSync(`${parent}/`);
  const registry = await startRegistry();
  const imageRef = await registry.push('bench/busybox', 'latest', await makeImage());
  const output = (name) => openSync(join(folder, `${name}.log`), 'w');
  const gantryLog = output('gantry');
  const dockerLog = output('dockerd');
  const gantry = new Peer(
    'gantry',
    join(folder, 'gantry.sock'),
    spawn(
      join(root, 'cli/bin/gantryd'),
      [
        '--host',
        `unix://${join(folder, 'gantry.sock')}`,
        '--data-root',
        join(folder, 'gantry'),
        '--exec-root',
        join(folder, 'gantry-run'),
        '--pidfile',
        join(folder, 'gantry.pid'),
        '--config-file',
        '/dev/null',
        '--bip',
        '10.231.0.1/16',
        '--storage-driver',
        storageDriver,
      ],
      { stdio: ['ignore', gantryLog, gantryLog] },
    ),
    imageRef,
  );
  const docker = new Peer(
    'dockerd',
    join(folder, 'docker.sock'),
    spawn(
      'dockerd',
      [
        '--host',
        `unix://${join(folder, 'docker.sock')}`,
        '--data-root',
        join(folder, 'docker'),
        '--exec-root',
        join(folder, 'docker-run'),
        '--pidfile',
        join(folder, 'docker.pid'),
        '--bip',
        '10.232.0.1/16',
        '--storage-driver',
        storageDriver,
      ],
      { stdio: ['ignore', dockerLog, dockerLog] },
    ),
    imageRef,
  );
  // The daemons have their own; one that stays open here would keep the file system below from being unmounted.
  for (const fd of [gantryLog, dockerLog]) closeSync(fd);
  try {
    await waitFor(gantry);
    await waitFor(docker);
    for (const peer of [gantry, docker]) peer.docker('pull', '-q', imageRef);
  } catch (error) {
    console.error(
      readFileSync(join(folder, 'gantry.log'), 'utf8').slice(-3000),
      readFileSync(join(folder, 'dockerd.log'), 'utf8').slice(-3000),
    );
    for (const peer of [gantry, docker]) await peer.stop();
    await registry.stop();
    throw error;
  }
  return {
    root,
    folder,
    registry,
    gantry,
    docker,
    both: [gantry, docker],
    async close() {
      for (const peer of [gantry, docker]) {
        const ids = (() => {
          try {
            return peer.docker('ps', '-aq').split('\n').filter(Boolean);
          } catch {
            return [];
          }
        })();
        if (ids.length > 0) peer.docker('rm', '-f', '-v', ...ids);
        await peer.stop();
      }
      await registry.stop();
      // Both leave their bridge, and the next ones have the same names; the network namespace is the bench's own.
      for (const bridge of ['gantry0', 'docker0']) spawnSync('ip', ['link', 'delete', bridge]);
      const mounts = readFileSync('/proc/self/mountinfo', 'utf8')
        .split('\n')
        .map((entry) => entry.split(' ')[4])
        .filter((target) => target?.startsWith(folder));
      for (const target of mounts.reverse()) spawnSync('umount', ['-l', target]);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
