import { existsSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { whyNoEngine } from './engine.js';
import { openTrial, type Trial } from './trial.js';

const reason = whyNoEngine();

/** The main job in few steps: what is worth proving on every kernel, the slow ones too. */
describe.skipIf(reason)(`the main job${reason ? ` (skipped: ${reason})` : ''}`, () => {
  let trial: Trial;
  const ok = (...args: string[]) => {
    const result = trial.engine.docker(args, { timeout: 240_000 });
    expect(result, `docker ${args.join(' ')}\n${trial.engine.log.slice(-2000)}`).toMatchObject({ code: 0 });
    return result.stdout.trim();
  };
  beforeAll(async () => {
    trial = await openTrial();
  }, 600_000);
  afterAll(async () => {
    if (trial) expect(await trial.close()).toEqual({});
  }, 300_000);

  it('runs, limits, executes, pauses, stops and removes', { timeout: 900_000 }, () => {
    expect(ok('run', '--rm', trial.image, 'echo', 'hello')).toBe('hello');
    ok('run', '-d', '--name', 'box', '--memory', '64m', '--cpus', '0.5', '--pids-limit', '64', trial.image, 'sleep', '1000');
    const version = ok('info', '--format', '{{.CgroupVersion}}');
    expect(version).toBe(existsSync('/sys/fs/cgroup/cgroup.controllers') ? '2' : '1');
    const limit = version === '2' ? '/sys/fs/cgroup/memory.max' : '/sys/fs/cgroup/memory/memory.limit_in_bytes';
    expect(ok('exec', 'box', 'cat', limit)).toBe(String(64 << 20));
    expect(ok('stats', '--no-stream', '--format', '{{.PIDs}}', 'box')).toBe('1');
    ok('pause', 'box');
    expect(ok('inspect', '-f', '{{.State.Status}}', 'box')).toBe('paused');
    ok('unpause', 'box');
    ok('update', '--memory', '96m', '--memory-swap', '96m', 'box');
    expect(ok('exec', 'box', 'cat', limit)).toBe(String(96 << 20));
    ok('stop', '-t', '0', 'box');
    expect(ok('inspect', '-f', '{{.State.ExitCode}}', 'box')).toBe('137');
    ok('rm', 'box');
  });
});
