// What an overlay network carries between two hosts, beside VXLAN set up by hand: alone, and behind a bridge and a pair as containers are.
// The hosts are namespaces on one machine, so all of it shares its processors: the ratio tells, not the figure.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { interleaved, median, row } from './report.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
/** Of the namespaces' names. */
const PREFIX = `gb${process.pid}-`;
const SECONDS = 2;
const ROUNDS = 7;
const SERVER = `
import socket,sys,time
s=socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind((sys.argv[1], 5201)); s.listen(); print('ready', flush=True)
c,_=s.accept(); b=bytearray(1<<20); n=0; t=time.monotonic()
while True:
  r=c.recv_into(b)
  if r==0: break
  n+=r
print(n*8/(time.monotonic()-t)/1e9, flush=True)`;
const CLIENT = `
import socket,sys,time
s=socket.create_connection((sys.argv[1], 5201)); b=bytes(1<<20); t=time.monotonic()
while time.monotonic()-t < ${SECONDS}: s.sendall(b)`;

/** Answers every word at once. */
const ECHO = `
import socket,sys
s=socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind((sys.argv[1], 5202)); s.listen(); print('ready', flush=True)
c,_=s.accept(); c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
while True:
  w=c.recv(64)
  if not w: break
  c.sendall(w)`;
const ASK = `
import socket,sys,time
s=socket.create_connection((sys.argv[1], 5202)); s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
times=[]
for i in range(4000):
  t=time.monotonic(); s.sendall(b'x'); s.recv(64); times.append(time.monotonic()-t)
print(sorted(times[1000:])[1500]*1e6, flush=True)`;

function must(...command) {
  const { status, stdout, stderr } = spawnSync(command[0], command.slice(1), { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${command.join(' ')}: ${stderr}`);
  return stdout.trim();
}

const inside = (path, ...command) => must('nsenter', `--net=${path}`, '--', ...command);

/** Last lines of what a client and its server in another namespace print. */
async function between(from, to, address, server, client) {
  const child = spawn('nsenter', [`--net=${to}`, '--', 'python3', '-c', server, address], { stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.on('data', (chunk) => (output += chunk));
  await once(child.stdout, 'data');
  const ended = once(child, 'exit');
  const asked = inside(from, 'python3', '-c', client, address);
  await ended;
  return { served: Number(output.trim().split('\n').at(-1)), asked: Number(asked) };
}

/** Gigabits a second from one namespace to another. */
const stream = async (from, to, address) => (await between(from, to, address, SERVER, CLIENT)).served;

/** Microseconds until a word is answered, the median of 3,000 in a row. */
const roundTrip = async (from, to, address) => (await between(from, to, address, ECHO, ASK)).asked;

export async function measure({ gantry }) {
  const folder = mkdtempSync('/tmp/gantry-bench-overlay-');
  const names = ['wire', 'a', 'b', 'pa', 'pb'].map((name) => `${PREFIX}${name}`);
  const path = (name) => `/run/netns/${PREFIX}${name}`;
  const children = [];
  try {
    for (const name of names) must('ip', 'netns', 'add', name);
    inside(path('wire'), 'ip', 'link', 'add', 'switch', 'type', 'bridge');
    inside(path('wire'), 'ip', 'address', 'add', '10.54.0.9/24', 'dev', 'switch');
    for (const link of ['switch', 'lo']) inside(path('wire'), 'ip', 'link', 'set', link, 'up');
    for (const [index, name] of ['a', 'b'].entries()) {
      inside(
        path('wire'),
        'ip',
        'link',
        'add',
        'name',
        `to-${name}`,
        'master',
        'switch',
        'up',
        'type',
        'veth',
        'peer',
        'name',
        'eth0',
        'netns',
        `${PREFIX}${name}`,
      );
      inside(path(name), 'ip', 'address', 'add', `10.54.0.${index + 1}/24`, 'dev', 'eth0');
      for (const link of ['eth0', 'lo']) inside(path(name), 'ip', 'link', 'set', link, 'up');
      byHand(path, name, index);
    }
    const store = 'http://10.54.0.9:2379';
    const peer = 'http://10.54.0.9:2380';
    const etcd = [`--data-dir=${folder}/etcd`, `--listen-client-urls=${store}`, `--advertise-client-urls=${store}`, '--log-level=error'];
    const members = [`--listen-peer-urls=${peer}`, `--initial-advertise-peer-urls=${peer}`, `--initial-cluster=default=${peer}`];
    children.push(spawn('nsenter', [`--net=${path('wire')}`, '--', 'etcd', '--logger=zap', ...etcd, ...members], { stdio: 'ignore' }));

    const image = join(folder, 'image.tar');
    gantry.docker('save', '-o', image, gantry.image);
    const docker = [];
    for (const [index, name] of ['a', 'b'].entries()) {
      const socket = join(folder, `${name}.sock`);
      const roots = [
        '--data-root',
        join(folder, name),
        '--exec-root',
        join(folder, `${name}.run`),
        '--pidfile',
        join(folder, `${name}.pid`),
      ];
      const cluster = ['--cluster-store', 'etcd://10.54.0.9:2379', '--cluster-advertise', `10.54.0.${index + 1}`];
      const flags = [
        '--host',
        `unix://${socket}`,
        '--config-file',
        '/dev/null',
        '--bridge',
        'gb0',
        '--bip',
        '10.53.0.1/24',
        ...roots,
        ...cluster,
      ];
      children.push(spawn('nsenter', [`--net=${path(name)}`, '--', join(root, 'cli/bin/gantryd'), ...flags], { stdio: 'ignore' }));
      docker.push((...args) => must('docker', '-H', `unix://${socket}`, ...args));
    }
    for (const run of docker) await patiently(() => run('load', '-q', '-i', image));
    await patiently(() => docker[0]('network', 'create', '-d', 'overlay', '--subnet', '10.52.0.0/24', 'bench'));
    await patiently(() => docker[1]('network', 'inspect', 'bench'));
    const boxes = docker.map((run) => run('run', '-d', '--network', 'bench', gantry.image, 'sleep', '10000'));
    const key = (index) => docker[index]('inspect', '-f', '{{.NetworkSettings.SandboxKey}}', boxes[index]);
    const address = docker[1]('inspect', '-f', '{{.NetworkSettings.Networks.bench.IPAddress}}', boxes[1]);
    const [first, second] = [key(0), key(1)];
    for (const [name, unit, measured] of [
      ['overlay between two hosts, one TCP stream (more is better)', 'Gbit/s', stream],
      ['overlay between two hosts, one word there and back by TCP, p50', 'µs', roundTrip],
    ]) {
      const figures = await interleaved(ROUNDS, {
        gantry: () => measured(first, second, address),
        vxlan: () => measured(path('a'), path('b'), '10.55.0.2'),
        behind: () => measured(path('pa'), path('pb'), '10.56.0.2'),
      });
      row(name, unit, ROUNDS, median(figures.gantry), {
        'vxlan by hand, behind a bridge and a pair': median(figures.behind),
        'vxlan by hand, alone': median(figures.vxlan),
      });
    }
    for (const [index, run] of docker.entries()) run('rm', '-f', boxes[index]);
  } finally {
    for (const child of children.reverse()) {
      if (child.exitCode !== null) continue;
      const ended = once(child, 'exit');
      child.kill();
      await ended;
    }
    for (const name of names) spawnSync('ip', ['netns', 'delete', name]);
    rmSync(folder, { recursive: true, force: true });
  }
}

/** One tunnel on the host itself, and one on a bridge with a pair to a namespace. */
function byHand(path, name, index) {
  const remote = `10.54.0.${2 - index}`;
  const tunnel = (link, id) =>
    inside(
      path(name),
      'ip',
      'link',
      'add',
      link,
      'mtu',
      '1450',
      'up',
      'type',
      'vxlan',
      'id',
      id,
      'remote',
      remote,
      'dstport',
      '4799',
      'nolearning',
    );
  tunnel('vx1', '71');
  inside(path(name), 'ip', 'address', 'add', `10.55.0.${index + 1}/24`, 'dev', 'vx1');
  inside(path(name), 'ip', 'link', 'add', 'br1', 'mtu', '1450', 'up', 'type', 'bridge');
  tunnel('vx2', '72');
  inside(path(name), 'ip', 'link', 'set', 'vx2', 'master', 'br1');
  inside(
    path(name),
    'ip',
    'link',
    'add',
    'v2',
    'mtu',
    '1450',
    'master',
    'br1',
    'up',
    'type',
    'veth',
    'peer',
    'name',
    'eth0',
    'mtu',
    '1450',
    'netns',
    `${PREFIX}p${name}`,
  );
  inside(path(`p${name}`), 'ip', 'address', 'add', `10.56.0.${index + 1}/24`, 'dev', 'eth0');
  inside(path(`p${name}`), 'ip', 'link', 'set', 'eth0', 'up');
}

async function patiently(work) {
  for (let attempt = 0; ; attempt++) {
    try {
      return work();
    } catch (error) {
      if (attempt === 100) throw error;
      await new Promise((done) => setTimeout(done, 200));
    }
  }
}
