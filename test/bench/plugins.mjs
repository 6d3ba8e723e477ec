// What plugins cost: a call of a volume plugin within a create, a list of 1,000 volumes, 32 plugins of which 8 hang, and tracing.
import { fork, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { Agent, createServer, request } from 'node:http';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const [serving, ...served] = process.argv.slice(2);

// The plugins are a process of their own, so that what they take is not taken from the client that measures.
if (serving === '--serve') {
  for (const [socket, options] of served.map((text) => JSON.parse(text))) await plugin(socket, options);
  process.send('ready');
  await new Promise(() => undefined);
}

const folder = mkdtempSync('/var/tmp/gantry-bench-plugins-');
const sockets = join(folder, 'plugins');
mkdirSync(sockets);
const children = [];
async function plugins(wanted) {
  const words = wanted.map(([name, options]) => JSON.stringify([join(sockets, `${name}.sock`), options ?? {}]));
  const child = fork(fileURLToPath(import.meta.url), ['--serve', ...words]);
  children.push(child);
  await new Promise((done) => child.once('message', done));
}

/** A plugin that answers at once, from memory; `hangs` takes every call and answers none. */
async function plugin(socket, { volumes = 0, hangs = false }) {
  const known = new Map(Array.from({ length: volumes }, (_, n) => [`listed-${n}`, { Name: `listed-${n}`, Mountpoint: '' }]));
  const answers = {
    'Plugin.Activate': () => ({ Implements: ['VolumeDriver'] }),
    'VolumeDriver.Capabilities': () => ({ Capabilities: { Scope: 'local' } }),
    'VolumeDriver.Get': ({ Name }) => (known.has(Name) ? { Volume: known.get(Name) } : { Err: 'no such volume' }),
    'VolumeDriver.Create': ({ Name }) => (known.set(Name, { Name, Mountpoint: '' }), {}),
    'VolumeDriver.Remove': ({ Name }) => (known.delete(Name), {}),
    'VolumeDriver.List': () => ({ Volumes: [...known.values()] }),
  };
  const server = createServer((incoming, outgoing) => {
    const chunks = [];
    incoming.on('data', (chunk) => chunks.push(chunk));
    incoming.on('end', () => {
      if (hangs) return;
      const body = chunks.length > 0 ? JSON.parse(Buffer.concat(chunks)) : {};
      outgoing.end(JSON.stringify(answers[incoming.url.slice(1)](body)));
    });
  });
  await new Promise((done) => server.listen(socket, done));
}

function daemon() {
  const socket = join(folder, 'gantry.sock');
  rmSync(socket, { force: true });
  const child = spawn(
    join(root, 'cli/bin/gantryd'),
    [
      '--host',
      `unix://${socket}`,
      '--data-root',
      join(folder, 'data'),
      '--exec-root',
      join(folder, 'run'),
      '--pidfile',
      join(folder, 'pid'),
      '--config-file',
      '/dev/null',
      '--bridge',
      'none',
      '--plugin-socket-folder',
      sockets,
      '--plugin-spec-folder',
      join(folder, 'specs'),
    ],
    { stdio: ['ignore', 'ignore', 'inherit'] },
  );
  const agent = new Agent({ keepAlive: true });
  const api = (method, path, body) =>
    new Promise((done, fail) => {
      const text = body === undefined ? undefined : JSON.stringify(body);
      const call = request(
        {
          socketPath: socket,
          agent,
          method,
          path,
          headers: text ? { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) } : {},
        },
        (answer) => {
          const chunks = [];
          answer.on('data', (chunk) => chunks.push(chunk));
          answer.on('end', () =>
            answer.statusCode >= 400 ? fail(new Error(`${path}: ${Buffer.concat(chunks)}`)) : done(Buffer.concat(chunks)),
          );
        },
      );
      call.on('error', fail);
      call.end(text);
    });
  return {
    api,
    socket,
    async up() {
      const began = performance.now();
      for (;;) {
        if (child.exitCode !== null) throw new Error('the daemon ended');
        if (
          existsSync(socket) &&
          (await api('GET', '/_ping').then(
            () => true,
            () => false,
          ))
        )
          return performance.now() - began;
        await new Promise((done) => setTimeout(done, 5));
      }
    },
    async down() {
      agent.destroy();
      const ended = new Promise((done) => child.once('exit', done));
      child.kill('SIGTERM');
      await ended;
    },
  };
}

const quantile = (values, share) => values.toSorted((a, b) => a - b)[Math.floor(values.length * share)];
const ms = (value) => `${value.toFixed(2)} ms`;
async function timed(rounds, act) {
  const times = [];
  for (let round = 0; round < rounds; round++) {
    const began = performance.now();
    await act(round);
    times.push(performance.now() - began);
  }
  return times;
}

const rows = [];
const row = (what, value) => rows.push([what, value]);
await plugins([['quick'], ['many', { volumes: 1000 }]]);
let engine = daemon();
try {
  await engine.up();
  // One after the other in each round, so that all see the same machine; the rounds before the first are not counted.
  const times = { local: [], quick: [], traced: [] };
  const create = async (driver, name, into) => {
    const [time] = await timed(1, () => engine.api('POST', '/volumes/create', { Name: name, Driver: driver }));
    into?.push(time);
  };
  for (let round = -20; round < 300; round++) {
    const counted = (kind) => (round < 0 ? undefined : times[kind]);
    await create('local', `bench-local-${round}`, counted('local'));
    await create('quick', `bench-quick-${round}`, counted('quick'));
    const watching = request({ socketPath: engine.socket, path: '/gantry/v1/plugins/quick/trace' });
    const traced = new Promise((done, fail) => {
      watching.once('response', (answer) => done(answer.resume()));
      watching.once('error', fail);
    });
    watching.end();
    await traced;
    watching.on('error', () => undefined);
    await create('quick', `bench-traced-${round}`, counted('traced'));
    watching.destroy();
  }
  const added = (kind, than) =>
    quantile(
      times[kind].map((time, round) => time - times[than][round]),
      0.5,
    );
  const calls = JSON.parse(await engine.api('GET', '/gantry/v1/plugins')).find(({ Name }) => Name === 'quick').Calls;
  for (const name of ['VolumeDriver.Get', 'VolumeDriver.Create']) {
    const { MillisecondsP50, MillisecondsP99 } = calls.find(({ Method }) => Method === name);
    row(`one call of ${name}, seen by the engine, p50 / p99`, `${MillisecondsP50} / ${MillisecondsP99} ms`);
  }
  row('volume create, local, p50 / p99', `${ms(quantile(times.local, 0.5))} / ${ms(quantile(times.local, 0.99))}`);
  row('volume create through a plugin (two calls), p50 / p99', `${ms(quantile(times.quick, 0.5))} / ${ms(quantile(times.quick, 0.99))}`);
  row('what the plugin adds to a create, median over rounds', ms(added('quick', 'local')));
  row('what a listening trace adds to that', ms(added('traced', 'quick')));
  await engine.api('GET', '/volumes');
  const list = await timed(20, () => engine.api('GET', '/volumes'));
  row('list of 1,000 volumes of one plugin and 960 of others, p50 / max', `${ms(quantile(list, 0.5))} / ${ms(Math.max(...list))}`);
  await engine.down();

  const alone = [];
  for (let round = 0; round < 3; round++) {
    engine = daemon();
    alone.push(await engine.up());
    await engine.down();
  }
  await plugins([
    ...Array.from({ length: 22 }, (_, n) => [`fine-${n}`]),
    ...Array.from({ length: 8 }, (_, n) => [`hangs-${n}`, { hangs: true }]),
  ]);
  const beside = [];
  for (let round = 0; round < 3; round++) {
    engine = daemon();
    beside.push(await engine.up());
    if (round < 2) await engine.down();
  }
  row('start of the daemon, 2 plugins / 32 of which 8 hang, median', `${ms(quantile(alone, 0.5))} / ${ms(quantile(beside, 0.5))}`);
  const first = await timed(1, () => engine.api('GET', '/volumes'));
  row('first volume ls with 8 of 32 hanging', ms(first[0]));
  for (const [what, path] of [
    ['ps', '/containers/json?all=1'],
    ['info', '/info'],
    ['volume ls', '/volumes'],
  ]) {
    const loop = engine.api('GET', '/volumes');
    const answers = await timed(10, () => engine.api('GET', path));
    await loop;
    row(`${what} beside a volume ls that meets them, p50 / max`, `${ms(quantile(answers, 0.5))} / ${ms(Math.max(...answers))}`);
  }
} finally {
  await engine.down().catch(() => undefined);
  for (const child of children) child.kill();
  rmSync(folder, { recursive: true, force: true });
}
for (const [what, value] of rows) console.log(`| ${what} | ${value} |`);
