import { spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { binFolder } from './addon.js';

const init = join(binFolder, 'gantry-init');
const run = (...args: string[]) => spawnSync(init, args, { encoding: 'utf8', timeout: 90_000 });

if (!existsSync(init)) console.log('gantry-init: skipped: not built');

describe.skipIf(!existsSync(init))('gantry-init', () => {
  it('ends as its program does', () => {
    expect(run('sh', '-c', 'echo hi; exit 12')).toMatchObject({ status: 12, stdout: 'hi\n' });
    expect(run('--', 'sh', '-c', 'kill -9 $$').status).toBe(137);
    expect(run('-g', '--', 'echo', '--', '-x').stdout).toBe('-- -x\n');
  });

  it('says what cannot be executed', () => {
    expect(run('/no/such/program')).toMatchObject({ status: 127, stderr: expect.stringContaining('/no/such/program') as string });
    expect(run('/etc/passwd').status).toBe(126);
    expect(run('-x', 'true').status).toBe(1);
    expect(run().status).toBe(1);
  });

  const signalled = async (script: string, signal: NodeJS.Signals, ...flags: string[]): Promise<{ code: number | null; out: string }> => {
    const child = spawn(init, [...flags, 'sh', '-c', script], { stdio: ['ignore', 'pipe', 'inherit'] });
    let out = '';
    let sent = false;
    child.stdout.on('data', (chunk: Buffer) => {
      out += chunk.toString();
      if (!sent && out.includes('ready')) sent = child.kill(signal);
    });
    const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
    return { code, out };
  };

  it('passes signals on to its program', async () => {
    const trap = (name: string): string => `trap 'echo got ${name}; exit 5' ${name}; echo ready; while true; do sleep 0.05; done`;
    for (const name of ['TERM', 'INT', 'HUP', 'USR1', 'QUIT'] as const) {
      expect(await signalled(trap(name), `SIG${name}`)).toEqual({ code: 5, out: `ready\ngot ${name}\n` });
    }
    expect((await signalled('echo ready; exec sleep 60', 'SIGTERM')).code).toBe(143);
  });

  it('passes them to the whole group when asked', async () => {
    const script = `trap 'wait; exit 6' TERM; (trap 'echo child; exit 0' TERM; echo ready; while true; do sleep 0.05; done) & wait; wait`;
    const { code, out } = await signalled(script, 'SIGTERM', '-g');
    expect([code, out]).toEqual([6, 'ready\nchild\n']);
  });

  it('reaps orphans that end while its program runs', () => {
    // Each inner shell leaves a child behind, which init gets.
    const script = 'for i in 1 2 3; do sh -c "sleep 0.05 &"; done; sleep 0.4; ps -o stat= --ppid $PPID | grep -c Z; exit 0';
    expect(run('sh', '-c', script).stdout.trim()).toBe('0');
  });

  it('starts its program with the signals it was started with', () => {
    const { stdout } = run('grep', '-E', 'Sig(Blk|Ign)', '/proc/self/status');
    const direct = spawnSync('grep', ['-E', 'Sig(Blk|Ign)', '/proc/self/status'], { encoding: 'utf8' });
    expect(stdout).toBe(direct.stdout);
  });
});
