// What plugins cost: a call of a volume plugin within a create, a list of 1,000 volumes, 32 plugins of which 8 hang, and tracing.
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { Agent, createServer, request } from 'node:http';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const folder = mkdtempSync('/var/tmp/gantry-bench-plugins-');
const sockets = join(folder, 'plugins');
mkdirSync(sockets);

/** A plugin that answers at once, from memory; `hangs` takes every call and answers none. */
async function plugin(name, { volumes = 0, hangs = false } = {}) {
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
  await new Promise((done) => server.listen(join(sockets, `${name}.sock`), done));
  return server;
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
const servers = [await plugin('quick'), await plugin('many', { volumes: 1000 })];
let engine = daemon();
try {
  await engine.up();
  // Interleaved, so that both see the same machine.
  const times = { local: [], quick: [], traced: [] };
  const create = (driver, round, into) =>
    timed(1, () => engine.api('POST', '/volumes/create', { Name: `bench-${driver}-${into}-${round}`, Driver: driver })).then(([time]) =>
      times[into].push(time),
    );
  for (let round = -20; round < 300; round++) {
    for (const driver of ['local', 'quick']) {
      await create(driver, round, driver);
      if (round < 0) times[driver].pop();
    }
  }
  const watching = request({ socketPath: engine.socket, path: '/gantry/v1/plugins/quick/trace' }, (answer) => answer.resume());
  watching.on('error', () => undefined);
  watching.end();
  await new Promise((done) => setTimeout(done, 100));
  for (let round = 0; round < 300; round++) await create('quick', round, 'traced');
  watching.destroy();
  const calls = JSON.parse(await engine.api('GET', '/gantry/v1/plugins')).find(({ Name }) => Name === 'quick').Calls;
  for (const name of ['VolumeDriver.Get', 'VolumeDriver.Create']) {
    const { MillisecondsP50, MillisecondsP99 } = calls.find(({ Method }) => Method === name);
    row(`one call of ${name}, seen by the engine, p50 / p99`, `${MillisecondsP50} / ${MillisecondsP99} ms`);
  }
  row('volume create, local, p50 / p99', `${ms(quantile(times.local, 0.5))} / ${ms(quantile(times.local, 0.99))}`);
  row('volume create through a plugin (three calls), p50 / p99', `${ms(quantile(times.quick, 0.5))} / ${ms(quantile(times.quick, 0.99))}`);
  row('the same while somebody traces, p50', ms(quantile(times.traced, 0.5)));
  await engine.api('GET', '/volumes');
  const list = await timed(20, () => engine.api('GET', '/volumes'));
  row('list of 1,000 volumes of one plugin and 920 of others, p50 / max', `${ms(quantile(list, 0.5))} / ${ms(Math.max(...list))}`);
  await engine.down();

  const alone = [];
  for (let round = 0; round < 3; round++) {
    engine = daemon();
    alone.push(await engine.up());
    await engine.down();
  }
  for (let n = 0; n < 22; n++) servers.push(await plugin(`fine-${n}`));
  for (let n = 0; n < 8; n++) servers.push(await plugin(`hangs-${n}`, { hangs: true }));
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
  for (const server of servers) {
    server.closeAllConnections();
    server.close();
  }
  rmSync(folder, { recursive: true, force: true });
}
for (const [what, value] of rows) console.log(`| ${what} | ${value} |`);
