import { existsSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Engine, whyNoEngine } from './engine.js';
import { openTrial, type Trial } from './trial.js';

const reason = whyNoEngine();
const pause = (ms: number) => new Promise((done) => setTimeout(done, ms));

describe.skipIf(reason)(`containers while the daemon is away${reason ? ` (skipped: ${reason})` : ''}`, () => {
  let trial: Trial;
  const ok = (...args: string[]) => {
    const result = trial.engine.docker(args);
    expect(result, `docker ${args.join(' ')}\n${trial.engine.log.slice(-2000)}`).toMatchObject({ code: 0 });
    return result.stdout.trim();
  };
  beforeAll(async () => {
    trial = await openTrial();
  });
  afterAll(async () => {
    if (trial) expect(await trial.close()).toEqual({});
  });

  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    it(`go on running, logging and counting after ${signal}, and are taken back`, async () => {
      const { engine, image } = trial;
      ok(
        'run',
        '-d',
        '--name',
        'runs',
        '-p',
        '127.0.0.1::80',
        image,
        'sh',
        '-c',
        '(i=0; while true; do i=$((i+1)); echo $i; sleep 0.02; done) & exec httpd -f -p 80 -h /var/www',
      );
      ok('run', '-d', '--name', 'ends', image, 'sh', '-c', 'sleep 0.4; echo last words; exit 23');
      const pid = ok('inspect', '-f', '{{.State.Pid}}', 'runs');
      const [, port] = /:(\d+)$/.exec(ok('port', 'runs', '80')) ?? [];
      const mortal = ok('inspect', '-f', '{{.State.Pid}}', 'ends');
      await engine.down(signal);
      await expect.poll(() => mortal === '0' || !existsSync(`/proc/${mortal}`)).toBe(true);
      expect(existsSync(`/proc/${pid}`)).toBe(true);
      expect(await fetch(`http://127.0.0.1:${port}/`).then((answer) => answer.text())).toBe('served by gantry\n');
      await engine.up();
      expect(ok('inspect', '-f', '{{.State.Status}} {{.State.Pid}}', 'runs')).toBe(`running ${pid}`);
      await expect.poll(() => ok('inspect', '-f', '{{.State.Status}} {{.State.ExitCode}}', 'ends')).toBe('exited 23');
      expect(ok('logs', 'ends')).toBe('last words');
      await expect.poll(() => ok('logs', 'runs').split('\n').length).toBeGreaterThan(20);
      const counted = ok('logs', 'runs').split('\n').map(Number);
      expect(counted).toEqual(counted.map((_, index) => index + 1));
      expect(ok('port', 'runs', '80')).toBe(`127.0.0.1:${port}`);
      expect(await fetch(`http://127.0.0.1:${port}/`).then((answer) => answer.text())).toBe('served by gantry\n');
      expect(ok('exec', 'runs', 'echo', 'still served')).toBe('still served');
      ok('stop', '-t', '0', 'runs');
      ok('rm', 'runs', 'ends');
    });
  }

  it('are restarted by their policy, and left alone when a user stopped them', async () => {
    const { engine, image } = trial;
    ok('run', '-d', '--name', 'always', '--restart', 'always', image, 'sleep', '0.3');
    ok('run', '-d', '--name', 'stopped', '--restart', 'unless-stopped', image, 'sleep', '100');
    ok('stop', '-t', '0', 'stopped');
    await engine.down('SIGKILL');
    await pause(600);
    await engine.up();
    await expect.poll(() => Number(ok('inspect', '-f', '{{.RestartCount}}', 'always'))).toBeGreaterThan(0);
    expect(ok('inspect', '-f', '{{.State.Status}}', 'stopped')).toBe('exited');
    ok('rm', '-f', 'always', 'stopped');
  });

  it('of another daemon on the same machine are nothing to this one', async () => {
    const other = await Engine.start();
    try {
      expect(other.docker(['ps', '-aq']).stdout).toBe('');
      const pulled = other.docker(['pull', '-q', trial.image]);
      expect(pulled, other.log.slice(-2000)).toMatchObject({ code: 0 });
      ok('run', '-d', '--name', 'here', trial.image, 'sleep', '100');
      expect(other.docker(['run', '-d', '--name', 'there', trial.image, 'sleep', '100']), other.log.slice(-2000)).toMatchObject({
        code: 0,
      });
      expect(ok('ps', '--format', '{{.Names}}')).toBe('here');
      await other.down('SIGKILL');
      await other.up();
      expect(other.docker(['ps', '--format', '{{.Names}}']).stdout.trim()).toBe('there');
      expect(ok('exec', 'here', 'echo', 'undisturbed')).toBe('undisturbed');
    } finally {
      ok('rm', '-f', 'here');
      expect(await other.stop()).toEqual({});
    }
  });
});
