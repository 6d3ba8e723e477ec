import { spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type LoopVolume, openLoopVolume } from '../fakes/loop-volume.js';
import { whyNoEngine } from './engine.js';
import { openTrial, type Trial } from './trial.js';

const reason = whyNoEngine();
/** Rounds over all operations together; GANTRY_KILL_ROUNDS for a longer run. */
const ROUNDS = Number(process.env['GANTRY_KILL_ROUNDS'] ?? 204);
/** The storage driver under fire; btrfs gets a volume of its own. */
const DRIVER = process.env['GANTRY_KILL_DRIVER'] ?? 'overlay2';

/** A fixed sequence, so that a failure can be repeated: GANTRY_KILL_SEED. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

describe.skipIf(reason)(`a daemon that is killed at any point${reason ? ` (skipped: ${reason})` : ''}`, () => {
  let trial: Trial;
  let volume: LoopVolume | undefined;
  let dataRoot: string;
  beforeAll(async () => {
    if (DRIVER === 'btrfs') {
      const opened = openLoopVolume('btrfs', 4096);
      if (typeof opened === 'string') throw new Error(opened);
      volume = opened;
    }
    const place = volume ? ['--data-root', join(volume.path, 'data')] : [];
    trial = await openTrial(['--storage-driver', DRIVER, ...place]);
    dataRoot = place[1] ?? join(trial.engine.folder, 'data');
  });
  afterAll(async () => {
    if (trial) expect(await trial.close()).toEqual({});
    volume?.close();
  });

  /** Starts a client and lets it run: what becomes of it does not matter, only what is left. */
  const client = (...args: string[]) => {
    const child = spawn('docker', args, { stdio: 'ignore', env: { ...process.env, DOCKER_HOST: `unix://${trial.engine.socket}` } });
    return new Promise<void>((done) => child.on('exit', () => done()));
  };

  it(
    `loses nothing and leaves nothing, ${ROUNDS} times`,
    async () => {
      const { engine, image } = trial;
      const seed = Number(process.env['GANTRY_KILL_SEED'] ?? 20261);
      const next = random(seed);
      const ok = (...args: string[]) => {
        const result = engine.docker(args);
        expect(result, `docker ${args.join(' ')} (seed ${seed})\n${engine.log.slice(-3000)}`).toMatchObject({ code: 0 });
        return result.stdout.trim();
      };
      // Witness: runs, counts and logs all the time, over every death.
      ok('run', '-d', '--name', 'witness', image, 'sh', '-c', 'i=0; while true; do i=$((i+1)); echo $i; sleep 0.05; done');
      const witnessPid = ok('inspect', '-f', '{{.State.Pid}}', 'witness');
      const operations = ['pull', 'create', 'start', 'exec', 'stop', 'rm', 'run', 'commit', 'rmi'] as const;

      for (let round = 0; round < ROUNDS; round++) {
        const operation = operations[round % operations.length] ?? 'run';
        const name = `victim-${round}`;
        if (operation === 'start' || operation === 'commit' || operation === 'rmi') ok('create', '--name', name, image, 'sleep', '100');
        if (operation === 'exec' || operation === 'stop' || operation === 'rm') ok('run', '-d', '--name', name, image, 'sleep', '100');
        if (operation === 'rmi') ok('commit', name, `image-${round}`);
        if (operation === 'pull') engine.docker(['rmi', '-f', 'again:latest']);
        const work: Record<typeof operation, string[]> = {
          pull: ['pull', '-q', image],
          create: ['create', '--name', name, '-v', '/anonymous', image, 'true'],
          start: ['start', name],
          exec: ['exec', name, 'sleep', '0.02'],
          stop: ['stop', '-t', '0', name],
          rm: ['rm', '-f', name],
          run: ['run', '--rm', '--name', name, image, 'true'],
          commit: ['commit', name, `image-${round}`],
          rmi: ['rmi', '-f', `image-${round}`],
        };
        const running = client(...work[operation]);
        // docker's own start takes some 15 ms; then anywhere in the operation.
        await new Promise((wait) => setTimeout(wait, 12 + next() * (operation === 'run' ? 160 : 90)));
        await engine.down('SIGKILL');
        await running;
        await engine.up();

        // Whatever state the object is in, it can be removed, and then it is gone.
        const state = engine.docker(['inspect', '-f', '{{.State.Status}}', name]);
        if (state.code === 0) {
          expect(['created', 'running', 'exited'], `${operation}, round ${round}, seed ${seed}\n${engine.log.slice(-3000)}`).toContain(
            state.stdout.trim(),
          );
          ok('rm', '-f', '-v', name);
          engine.docker(['rmi', '-f', `image-${round}`]);
        } else if (operation === 'start' || operation === 'exec' || operation === 'stop') {
          expect.fail(`${operation} lost its container in round ${round} (seed ${seed}): ${state.stderr}\n${engine.log.slice(-3000)}`);
        }
        expect(ok('inspect', '-f', '{{.State.Status}} {{.State.Pid}}', 'witness'), `round ${round}, ${operation}, seed ${seed}`).toBe(
          `running ${witnessPid}`,
        );
        expect(ok('ps', '-aq').split('\n').length, `round ${round}, ${operation}, seed ${seed}`).toBe(1);
        engine.log = engine.log.slice(-20_000);
      }

      const counted = ok('logs', 'witness').split('\n').map(Number);
      expect(counted.length).toBeGreaterThan(ROUNDS);
      expect(counted).toEqual(counted.map((_, index) => index + 1));
      ok('rm', '-f', 'witness');
      ok('rmi', '-f', image);
      // A removal that was cut off may have got no further than the name.
      ok('image', 'prune', '-af');
      expect(readdirSync(join(dataRoot, 'storage', DRIVER)).filter((name) => /[0-9a-f]{64}|view-|new-/.test(name))).toEqual([]);
      expect(ok('volume', 'ls', '-q')).toBe('');
    },
    ROUNDS * 6_000 + 60_000,
  );
});
