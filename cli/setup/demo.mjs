// `npm start`: the main job on real input, from nothing to a container that answers on a published port, on a socket and data root
// of its own; everything it started is stopped at the end.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { makeImage, startRegistry } from './trial-image.mjs';

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const bin = (name) => join(root, 'cli/bin', name);

if (process.getuid() !== 0) {
  console.error('npm start runs containers, and that needs root here (mounts, namespaces, cgroups): try it with sudo.');
  process.exit(1);
}

mkdirSync('/var/lib/gantry-trial', { recursive: true, mode: 0o700 });
const folder = mkdtempSync('/var/lib/gantry-trial/');
const socket = join(folder, 'gantry.sock');
const env = { ...process.env, GANTRY_HOST: `unix://${socket}` };
let daemon;
let registry;
let containerMade = false;

const say = (text) => console.log(`\n==> ${text}`);

function gantry(...args) {
  console.log(`$ gantry ${args.join(' ')}`);
  const { status, stdout, stderr } = spawnSync(bin('gantry'), args, { env, encoding: 'utf8', timeout: 60_000 });
  process.stdout.write(stdout);
  process.stderr.write(stderr);
  if (status !== 0) throw new Error(`gantry ${args[0]} ended with ${status}`);
  return stdout.trim();
}

async function waitFor(what, check) {
  for (const until = Date.now() + 20_000; ;) {
    if (await check()) return;
    if (Date.now() > until) throw new Error(`${what} did not come up`);
    await new Promise((done) => setTimeout(done, 30));
  }
}

async function freePort() {
  const server = createServer();
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address();
  await new Promise((done) => server.close(done));
  return port;
}

async function main() {
  say('starting an engine of its own');
  const log = [];
  daemon = spawn(
    bin('gantryd'),
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
      'gantry-trial0',
    ],
    { stdio: ['ignore', 'inherit', 'pipe'] },
  );
  daemon.stderr.on('data', (chunk) => log.push(chunk.toString()));
  daemon.on('exit', (code) => {
    if (code) console.error(log.join(''));
  });
  await waitFor('gantryd', () => {
    if (daemon.exitCode !== null) throw new Error('gantryd ended');
    return existsSync(socket) && spawnSync(bin('gantry'), ['version'], { env }).status === 0;
  });

  say('serving a small image from a registry on loopback');
  registry = await startRegistry();
  const image = await registry.push('trial/busybox', 'latest', await makeImage());

  gantry('pull', image);

  const port = await freePort();
  gantry('volume', 'create', 'trial-data');
  containerMade = true;
  gantry(
    'run',
    '-d',
    '--name',
    'trial',
    '-p',
    `127.0.0.1:${port}:80`,
    '-v',
    'trial-data:/var/www',
    image,
    'sh',
    '-c',
    'echo the volume is at /var/www; exec httpd -f -v -p 80 -h /var/www',
  );
  let page = '';
  await waitFor('the published port', async () => {
    page = await fetch(`http://127.0.0.1:${port}/`).then(
      (answer) => answer.text(),
      () => '',
    );
    return page !== '';
  });
  say(`http://127.0.0.1:${port}/ answers: ${page.trim()}`);
  gantry('ps');
  gantry('logs', 'trial');
  gantry('info');
  say('it worked');
  console.log(`
What to try next:
  ${bin('gantryd')} &                      an engine on /run/gantry/gantry.sock
  ${bin('gantry')} run -it IMAGE           gantry also starts an engine by itself when none answers
  DOCKER_HOST=unix:///run/gantry/gantry.sock docker run ...   any Docker client
  ${bin('gantry')} run --storage-driver vfs ...     another storage driver for one container
  npm test, npm run bench                  prove it, and measure it beside dockerd, runc and crun`);
}

async function cleanUp() {
  say('stopping what was started');
  if (containerMade) spawnSync(bin('gantry'), ['rm', '-f', '-v', 'trial'], { env, timeout: 30_000 });
  if (daemon && daemon.exitCode === null) {
    const ended = new Promise((done) => daemon.once('exit', done));
    daemon.kill('SIGTERM');
    await ended;
  }
  await registry?.stop();
  const mounted = readFileSync('/proc/self/mountinfo', 'utf8').includes(folder);
  if (mounted) console.error(`something is still mounted below ${folder}; it is left there`);
  else rmSync(folder, { recursive: true, force: true });
}

let failed = false;
try {
  await main();
} catch (error) {
  failed = true;
  console.error(`npm start failed: ${error.message}`);
} finally {
  await cleanUp();
}
process.exit(failed ? 1 : 0);
