// What networks cost: at a start, for packets, for names, with many ports and with many networks.
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import { interleaved, median, quantile, row } from './report.mjs';

const BULK_MB = 512;
const NETWORKS = 300;

const create = async (peer, network, own = {}) => {
  const { HostConfig: host, ...rest } = own;
  const body = { Image: peer.image, Cmd: ['sleep', '10000'], ...rest, HostConfig: { NetworkMode: network, ...host } };
  return JSON.parse(await peer.api('POST', '/containers/create', body)).Id;
};
const start = (peer, id) => peer.api('POST', `/containers/${id}/start`);
const remove = (peer, id) => peer.api('DELETE', `/containers/${id}?force=true&v=true`);

async function run(peer, network, own) {
  const id = await create(peer, network, own);
  await start(peer, id);
  return id;
}

async function addedByBridge(both) {
  const times = {};
  for (const network of ['none', 'bridge']) {
    const cycle = (peer) => async () => {
      const id = await create(peer, network);
      const began = performance.now();
      await start(peer, id);
      const took = performance.now() - began;
      await remove(peer, id);
      return took;
    };
    times[network] = await interleaved(30, { gantry: cycle(both[0]), dockerd: cycle(both[1]) }, { warmUp: 2 });
  }
  const added = (name) => median(times.bridge[name]) - median(times.none[name]);
  row('what bridge adds to a start', 'ms', 30, added('gantry'), { dockerd: added('dockerd') });
}

async function manyAtOnce(both) {
  const took = {};
  for (const peer of both) {
    const ids = [];
    for (let i = 0; i < 200; i++) ids.push(await create(peer, 'bridge'));
    const waiting = [...ids];
    const began = performance.now();
    await Promise.all(
      Array.from({ length: 8 }, async () => {
        for (let id = waiting.pop(); id; id = waiting.pop()) await start(peer, id);
      }),
    );
    took[peer.name] = performance.now() - began;
    const going = [...ids];
    await Promise.all(
      Array.from({ length: 8 }, async () => {
        for (let id = going.pop(); id; id = going.pop()) await remove(peer, id);
      }),
    );
  }
  row('start of 200 containers on bridge, 8 at once', 's', 1, took.gantry / 1000, { dockerd: took.dockerd / 1000 });
}

const get = (port) =>
  new Promise((done, fail) => {
    const call = request({ host: '127.0.0.1', port, path: '/', agent: false }, (answer) => answer.resume().on('end', done));
    call.on('error', fail).end();
  });

/** Reads all that the port serves and tells the seconds. */
const drain = (port) =>
  new Promise((done, fail) => {
    const began = performance.now();
    const socket = connect(port, '127.0.0.1', () => socket.write('GET /bulk HTTP/1.0\r\n\r\n'));
    socket
      .on('data', () => undefined)
      .on('error', fail)
      .on('end', () => done((performance.now() - began) / 1000));
  });

async function traffic(both) {
  const server = `dd if=/dev/zero of=/tmp/bulk bs=1M count=${BULK_MB} 2>/dev/null; echo hi >/tmp/index.html; exec httpd -f -p 80 -h /tmp`;
  const ids = {};
  const ports = {};
  const clients = {};
  for (const peer of both) {
    await peer.api('POST', '/networks/create', { Name: 'traffic' });
    ids[peer.name] = await run(peer, 'traffic', {
      Cmd: ['sh', '-c', server],
      ExposedPorts: { '80/tcp': {} },
      HostConfig: { PortBindings: { '80/tcp': [{ HostIp: '127.0.0.1', HostPort: '' }] }, Tmpfs: { '/tmp': 'size=1g' } },
    });
    const { NetworkSettings: settings } = JSON.parse(await peer.api('GET', `/containers/${ids[peer.name]}/json`));
    ports[peer.name] = Number(settings.Ports['80/tcp'][0].HostPort);
    clients[peer.name] = await run(peer, 'traffic');
    for (let i = 0; i < 100; i++) {
      if (
        await get(ports[peer.name]).then(
          () => true,
          () => false,
        )
      )
        break;
      await new Promise((done) => setTimeout(done, 100));
    }
  }
  const latency = await interleaved(300, Object.fromEntries(both.map((peer) => [peer.name, () => get(ports[peer.name])])));
  row('a request through a published port, p50', 'ms', 300, median(latency.gantry), { dockerd: median(latency.dockerd) });
  row('a request through a published port, p99', 'ms', 300, quantile(latency.gantry, 0.99), { dockerd: quantile(latency.dockerd, 0.99) });
  const bulk = await interleaved(5, Object.fromEntries(both.map((peer) => [peer.name, () => drain(ports[peer.name])])));
  const rate = (seconds) => (BULK_MB * 8.39) / 1000 / seconds;
  row('through a published port (more is better)', 'Gbit/s', 5, rate(median(bulk.gantry)), { dockerd: rate(median(bulk.dockerd)) });
  const between = await interleaved(
    5,
    Object.fromEntries(
      both.map((peer) => [
        peer.name,
        () => void peer.docker('exec', clients[peer.name], 'wget', '-q', '-O', '/dev/null', `http://${ids[peer.name].slice(0, 12)}/bulk`),
      ]),
    ),
  );
  row(`container to container, ${BULK_MB} MB (docker exec included)`, 'ms', 5, median(between.gantry), {
    dockerd: median(between.dockerd),
  });
  return { ids, clients };
}

/** Questions per second and their times, asked from within the container's network namespace with 32 under way. */
const dnsClient = `
const socket = require('node:dgram').createSocket('udp4');
const [name, count] = [process.argv[1], Number(process.argv[2])];
const question = Buffer.concat([Buffer.from('000001000001000000000000', 'hex'), Buffer.from([name.length]), Buffer.from(name), Buffer.from('0000010001', 'hex')]);
const began = new Map(); const times = []; let sent = 0; const start = performance.now();
const ask = () => { if (sent >= count) return; const message = Buffer.from(question); message.writeUInt16BE(sent & 0xffff, 0); began.set(sent & 0xffff, performance.now()); sent++; socket.send(message); };
socket.on('message', (answer) => { const id = answer.readUInt16BE(0); const at = began.get(id); if (at === undefined) return; began.delete(id); times.push(performance.now() - at);
  if (times.length === count) { times.sort((a, b) => a - b); console.log(JSON.stringify({ qps: (count / (performance.now() - start)) * 1000, p99: times[Math.floor(count * 0.99)] })); socket.close(); } else ask(); });
socket.connect(53, '127.0.0.11', () => { for (let i = 0; i < 32; i++) ask(); });
setTimeout(() => process.exit(3), 60000).unref();`;

async function names(both, { ids, clients }) {
  const ask = (peer) => async () => {
    const { State: state } = JSON.parse(await peer.api('GET', `/containers/${clients[peer.name]}/json`));
    return new Promise((done, fail) => {
      const child = spawn(
        'nsenter',
        [`--net=/proc/${state.Pid}/ns/net`, process.execPath, '-e', dnsClient, ids[peer.name].slice(0, 12), '20000'],
        {
          stdio: ['ignore', 'pipe', 'inherit'],
        },
      );
      let text = '';
      child.stdout.on('data', (chunk) => (text += chunk));
      child.on('close', (code) =>
        code === 0 ? done(JSON.parse(text)) : fail(new Error(`the questions to ${peer.name} were not all answered`)),
      );
    });
  };
  const results = await interleaved(5, { gantry: ask(both[0]), dockerd: ask(both[1]) });
  const of = (name, what) => median(results[name].map((one) => one[what]));
  row('names of containers (more is better)', 'questions/s', 5, of('gantry', 'qps'), { dockerd: of('dockerd', 'qps') });
  row('a name, p99 with 32 under way', 'ms', 5, of('gantry', 'p99'), { dockerd: of('dockerd', 'p99') });
}

/** A container with one port comes and goes while another has many. dockerd runs two processes for each port, so it gets fewer. */
async function manyPorts(both) {
  const cycle = (peer) => async () => {
    const id = await create(peer, 'bridge', {
      ExposedPorts: { '80/tcp': {} },
      HostConfig: { PortBindings: { '80/tcp': [{ HostIp: '127.0.0.1', HostPort: '40999' }] } },
    });
    const began = performance.now();
    await start(peer, id);
    const took = performance.now() - began;
    await remove(peer, id);
    return took;
  };
  const measured = {};
  const medians = async () => {
    const times = await interleaved(20, { gantry: cycle(both[0]), dockerd: cycle(both[1]) }, { warmUp: 2 });
    return { gantry: median(times.gantry), dockerd: median(times.dockerd) };
  };
  measured.none = await medians();
  const holders = [];
  for (const [peer, count] of [
    [both[0], 1000],
    [both[1], 100],
  ]) {
    const all = Array.from({ length: count }, (_, i) => 1000 + i);
    const id = await create(peer, 'bridge', {
      ExposedPorts: Object.fromEntries(all.map((port) => [`${port}/tcp`, {}])),
      HostConfig: {
        PortBindings: Object.fromEntries(
          all.map((port) => [`${port}/tcp`, [{ HostIp: '127.0.0.1', HostPort: String((peer.name === 'gantry' ? 20000 : 24000) + port) }]]),
        ),
      },
    });
    const began = performance.now();
    await start(peer, id);
    console.error(`  ${peer.name}: ${count} ports published in ${(performance.now() - began).toFixed(0)} ms`);
    holders.push([peer, id]);
  }
  measured.many = await medians();
  for (const [peer, id] of holders) await remove(peer, id);
  row('start with a published port', 'ms', 20, measured.none.gantry, { dockerd: measured.none.dockerd });
  row('start with a published port beside 1,000 others (dockerd: 100)', 'ms', 20, measured.many.gantry, { dockerd: measured.many.dockerd });
}

/** How long a daemon with many networks takes until it answers. */
async function manyNetworks({ root, folder }) {
  const commands = {
    gantry: [join(root, 'cli/bin/gantryd')],
    dockerd: ['dockerd', '--storage-driver', 'vfs'],
  };
  const took = {};
  for (const [name, [program, ...own]] of Object.entries(commands)) {
    const base = join(folder, `many-${name}`);
    mkdirSync(base);
    const socket = join(base, 'api.sock');
    writeFileSync(join(base, 'daemon.json'), '{}');
    const all = [
      ...own,
      '--config-file',
      join(base, 'daemon.json'),
      '--host',
      `unix://${socket}`,
      '--data-root',
      join(base, 'data'),
      '--exec-root',
      join(base, 'run'),
      '--pidfile',
      join(base, 'pid'),
      '--bridge',
      'none',
    ];
    const call = (method, path, body) =>
      new Promise((done, fail) => {
        const text = body === undefined ? undefined : JSON.stringify(body);
        const headers = text === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) };
        request({ socketPath: socket, method, path: `/v1.41${path}`, headers }, (answer) =>
          answer.resume().on('end', () => done(answer.statusCode)),
        )
          .on('error', fail)
          .end(text);
      });
    const up = async () => {
      const child = spawn(program, all, { stdio: 'ignore' });
      for (const until = Date.now() + 120_000; Date.now() < until;) {
        if (existsSync(socket) && (await call('GET', '/_ping').catch(() => 0)) === 200) return child;
        await new Promise((done) => setTimeout(done, 5));
      }
      throw new Error(`${name} does not answer`);
    };
    const down = (child) =>
      new Promise((done) => {
        child.once('exit', done);
        child.kill('SIGTERM');
      });
    const times = [];
    let child = await up();
    for (let i = 0; i < NETWORKS; i++) {
      const second = (name === 'gantry' ? 100 : 110) + Math.floor(i / 250);
      await call('POST', '/networks/create', { Name: `n${i}`, IPAM: { Config: [{ Subnet: `10.${second}.${i % 250}.0/24` }] } });
    }
    for (let round = 0; round < 3; round++) {
      await down(child);
      const began = performance.now();
      child = await up();
      times.push(performance.now() - began);
    }
    for (let i = 0; i < NETWORKS; i++) await call('DELETE', `/networks/n${i}`);
    await down(child);
    took[name] = median(times);
  }
  row(`start of a daemon with ${NETWORKS} networks`, 'ms', 3, took.gantry, { dockerd: took.dockerd });
}

export async function measure(peers) {
  const { both } = peers;
  // dockerd sets a FORWARD policy that drops; what is measured here stays on one bridge or comes from the host.
  await addedByBridge(both);
  const running = await traffic(both);
  await names(both, running);
  for (const peer of both) {
    for (const id of [running.ids[peer.name], running.clients[peer.name]]) await remove(peer, id);
    await peer.api('DELETE', '/networks/traffic');
  }
  await manyPorts(both);
  await manyAtOnce(both);
  await manyNetworks(peers);
}
