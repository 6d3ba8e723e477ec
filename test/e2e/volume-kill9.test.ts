import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { whyNoEngine } from './engine.js';
import { openTrial, type Trial } from './trial.js';

const reason = whyNoEngine();
/** Rounds over all verbs together; GANTRY_VOLUME_KILL_ROUNDS for a longer run. */
const ROUNDS = Number(process.env['GANTRY_VOLUME_KILL_ROUNDS'] ?? 22);
/** Files in the volume that is copied: enough for a death in the middle of them. */
const FILES = 400;

/** A fixed sequence, so that a failure can be repeated: GANTRY_KILL_SEED. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Names, contents, owners and modes of all that is in a folder, in one text. */
function contentOf(folder: string): string {
  const { status, stdout, stderr } = spawnSync(
    'sh',
    ['-c', 'find . -printf "%P %m %U %G %y\\n" | sort && find . -type f | sort | xargs -r sha256sum'],
    { cwd: folder, encoding: 'utf8', maxBuffer: 1 << 26 },
  );
  if (status !== 0) throw new Error(stderr);
  return stdout;
}

describe.skipIf(reason)(`volumes of a daemon that is killed at any point${reason ? ` (skipped: ${reason})` : ''}`, () => {
  let trial: Trial;
  let scratch: string;
  beforeAll(async () => {
    trial = await openTrial();
    scratch = mkdtempSync('/tmp/gantry-volume-kill-');
  });
  afterAll(async () => {
    if (!trial) return;
    rmSync(scratch, { recursive: true, force: true });
    expect(await trial.close()).toEqual({});
  });

  /** Asks and lets it run: what is answered does not matter, only what is left. */
  const ask = (method: string, path: string, body?: object | Buffer): Promise<void> =>
    new Promise((done) => {
      const content = body === undefined ? undefined : Buffer.isBuffer(body) ? body : Buffer.from(JSON.stringify(body));
      const type = Buffer.isBuffer(body) ? 'application/x-tar' : 'application/json';
      const headers = content === undefined ? {} : { 'content-type': type, 'content-length': content.length };
      const call = request({ socketPath: trial.engine.socket, method, path, headers }, (answer) => {
        answer.resume();
        answer.on('close', () => done());
        answer.on('error', () => done());
      });
      call.on('error', () => done());
      call.end(content);
    });

  it(
    `are whole or absent, and let go by what used them, ${ROUNDS} times`,
    async () => {
      const { engine, image } = trial;
      const seed = Number(process.env['GANTRY_KILL_SEED'] ?? 4711);
      const next = random(seed);
      let at = '';
      const told = (): string => `${at}, seed ${seed}\n${engine.log.slice(-3000)}`;
      const ok = (program: 'docker' | 'gantry', ...args: string[]): string => {
        const result = engine[program](args);
        expect(result, `${program} ${args.join(' ')}: ${result.stderr} ${told()}`).toMatchObject({ code: 0 });
        return result.stdout.trim();
      };
      const docker = (...args: string[]): string => ok('docker', ...args);
      const volumes = (): string[] => docker('volume', 'ls', '-q').split('\n').filter(Boolean);
      const data = (name: string): string => join(engine.folder, 'data/volume/local', name, '_data');

      docker('volume', 'create', 'base');
      for (let i = 0; i < FILES; i++) {
        const folder = join(data('base'), `f${i % 20}`);
        mkdirSync(folder, { recursive: true });
        writeFileSync(join(folder, `file-${i}`), `${i} `.repeat(200));
      }
      spawnSync('chown', ['-R', '11:12', join(data('base'), 'f3')]);
      const whole = contentOf(data('base'));
      ok('gantry', 'volume', 'export', '-o', join(scratch, 'base.tar'), 'base');
      const archive = readFileSync(join(scratch, 'base.tar'));
      // It holds one of them all the time, over every death.
      docker('volume', 'create', 'held');
      docker('run', '-d', '--name', 'holder', '-v', 'held:/v', image, 'sleep', '100000');

      const own = '/gantry/v1/volumes';
      const verbs: Record<string, { before?: () => unknown; ask: () => Promise<void> }> = {
        create: { ask: () => ask('POST', '/volumes/create', { Name: 'target' }) },
        rm: {
          before: () => ok('gantry', 'volume', 'clone', 'base', 'target'),
          ask: () => ask('DELETE', '/volumes/target'),
        },
        clone: { ask: () => ask('POST', `${own}/base/clone`, { Name: 'target' }) },
        snapshot: { ask: () => ask('POST', `${own}/base/snapshot`, { Name: 'target' }) },
        rename: {
          before: () => ok('gantry', 'volume', 'clone', 'base', 'from'),
          ask: () => ask('POST', `${own}/from/rename`, { Name: 'target' }),
        },
        import: {
          before: () => docker('volume', 'create', 'target'),
          ask: () => ask('PUT', `${own}/target/archive`, archive),
        },
        export: { ask: () => ask('GET', `${own}/base/archive`) },
        resize: {
          before: () => docker('volume', 'create', '-o', 'type=tmpfs', '-o', 'device=tmpfs', '-o', 'o=size=1m', 'target'),
          ask: () => ask('POST', `${own}/target/resize`, { Size: 4 << 20 }),
        },
        'create of a container': {
          ask: () => ask('POST', '/containers/create?name=user', { Image: image, HostConfig: { Binds: ['target:/t', '/anonymous'] } }),
        },
        'start of a container': {
          before: () => docker('create', '--name', 'user', '-v', 'target:/etc', '-v', 'base:/b', image, 'sleep', '100000'),
          ask: () => ask('POST', '/containers/user/start'),
        },
        'removal of a container': {
          before: () => docker('run', '-d', '--name', 'user', '-v', 'target:/t', '-v', '/anonymous', image, 'sleep', '100000'),
          ask: () => ask('DELETE', '/containers/user?force=1&v=1'),
        },
      };
      /** A round's volume is what it is for, if it is there at all. */
      const check: Record<string, () => void> = {
        rm: () => expect(contentOf(data('target')), told()).toBe(whole),
        clone: () => expect(contentOf(data('target')), told()).toBe(whole),
        snapshot: () => expect(contentOf(data('target')), told()).toBe(whole),
        rename: () => expect(contentOf(data('target')), told()).toBe(whole),
        import: () => {
          if (readdirSync(data('target')).length > 0) expect(contentOf(data('target')), told()).toBe(whole);
        },
        resize: () => {
          const free = ['run', '--rm', '-v', 'target:/t', image, 'sh', '-c', 'df -k /t | tail -1 | tr -s " " | cut -d " " -f 2'];
          expect(['1024', '4096'], told()).toContain(docker(...free));
        },
        'start of a container': () => {
          // What the image has at that place is copied whole before the container sees it.
          if (docker('inspect', '-f', '{{.State.Running}}', 'user') === 'true')
            expect(existsSync(join(data('target'), 'passwd'))).toBe(true);
        },
      };

      const names = Object.keys(verbs);
      for (let round = 0; round < ROUNDS; round++) {
        const name = names[round % names.length] ?? 'create';
        at = `${name}, round ${round}`;
        const verb = verbs[name];
        verb?.before?.();
        const asked = verb?.ask();
        await new Promise((wait) => setTimeout(wait, next() * (name.includes('container') ? 80 : 30)));
        await engine.down('SIGKILL');
        await asked;
        await engine.up();

        const left = volumes();
        expect(left, told()).toEqual(expect.arrayContaining(['base', 'held']));
        expect(contentOf(data('base')), told()).toBe(whole);
        if (name === 'rename') expect(left.includes('from') !== left.includes('target'), told()).toBe(true);
        if (left.includes('from')) expect(contentOf(data('from')), told()).toBe(whole);
        if (left.includes('target')) check[name]?.();
        expect(docker('inspect', '-f', '{{.State.Running}}', 'holder'), told()).toBe('true');
        expect(engine.docker(['volume', 'rm', 'held']).stderr, told()).toContain('volume is in use');
        // With its containers a volume is free, and an anonymous one is gone.
        if (docker('ps', '-aq', '-f', 'name=user') !== '') docker('rm', '-f', '-v', 'user');
        for (const one of ['from', 'target']) if (volumes().includes(one)) docker('volume', 'rm', one);
        expect(volumes(), told()).toEqual(['base', 'held']);
        expect(readdirSync(join(engine.folder, 'data/volume/local')).toSorted(), told()).toEqual(['base', 'held']);
        engine.log = engine.log.slice(-20_000);
      }
      docker('rm', '-f', 'holder');
      docker('volume', 'rm', 'base', 'held');
    },
    ROUNDS * 8_000 * Number(process.env['GANTRY_SLOW'] ?? 1) + 120_000,
  );
});
