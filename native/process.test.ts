import { existsSync, readFileSync, readdirSync, readlinkSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { process as host } from './process.js';

const sh = '/bin/sh';
const environment = ['PATH=/usr/sbin:/usr/bin:/sbin:/bin'];
const run = (script: string, more: Partial<Parameters<typeof host.run>[0]> = {}) =>
  host.run({ path: sh, args: ['sh', '-c', script], env: environment, ...more });

/** Keeps the event loop alive while a child is waited for, which the child itself does not. */
async function held<T>(promise: Promise<T>): Promise<T> {
  const timer = setInterval(() => undefined, 1000);
  return promise.finally(() => clearInterval(timer));
}

describe('spawning', () => {
  it('gives the exit code, and 128 + n for a signal', async () => {
    expect((await run('exit 7')).code).toBe(7);
    expect((await run('kill -9 $$')).code).toBe(137);
  });

  it('says at once that a program cannot be executed', () => {
    const spawn = (path: string, cwd?: string) => () =>
      host.spawn({ path, args: [path], env: [], fds: [-1, -1, -1], ...(cwd === undefined ? {} : { cwd }) });
    expect(spawn('/nonexistent/program')).toThrow(expect.objectContaining({ code: 'ENOENT', path: '/nonexistent/program' }));
    expect(spawn('/etc/passwd')).toThrow(expect.objectContaining({ code: 'EACCES', syscall: 'exec' }));
    expect(spawn(sh, '/nonexistent')).toThrow(expect.objectContaining({ code: 'ENOENT', syscall: 'chdir' }));
  });

  it('hands over the listed descriptors, and nothing else', async () => {
    const [read, write] = host.pipe();
    const child = host.spawn({ path: '/bin/ls', args: ['ls', '-l', '/proc/self/fd'], env: environment, fds: [-1, write, -1, read] });
    host.closeFd(write);
    expect((await held(child.exited)).code).toBe(0);
    const listed = readFileSync(read, 'utf8');
    host.closeFd(read);
    const numbers = [...listed.matchAll(/ (\d+) -> (\S+)/g)].filter((match) => !match[2]?.startsWith('/proc/')).map((match) => match[1]);
    expect(numbers).toEqual(['0', '1', '2', '3']);
  });

  it('exchanges descriptors whose numbers are in the way of each other', async () => {
    const [firstRead, firstWrite] = host.pipe();
    const [secondRead, secondWrite] = host.pipe();
    const child = host.spawn({
      path: sh,
      args: ['sh', '-c', 'echo out; echo err >&2'],
      env: environment,
      fds: [-1, secondWrite, firstWrite],
    });
    host.closeFd(firstWrite);
    host.closeFd(secondWrite);
    await held(child.exited);
    expect([readFileSync(secondRead, 'utf8'), readFileSync(firstRead, 'utf8')]).toEqual(['out\n', 'err\n']);
    host.closeFd(firstRead);
    host.closeFd(secondRead);
  });

  it('starts with no signal blocked, ignored or handled', async () => {
    const { stdout } = await host.run({ path: '/bin/cat', args: ['cat', '/proc/self/status'], env: [] });
    for (const field of ['SigBlk', 'SigIgn', 'SigCgt']) expect(stdout.toString()).toMatch(new RegExp(`${field}:\\s0{16}\n`));
  });

  it('leads a session of its own only when asked', async () => {
    const sid = async (newSession: boolean): Promise<[number, number]> => {
      const [read, write] = host.pipe();
      const child = host.spawn({
        path: '/bin/cat',
        args: ['cat', '/proc/self/stat'],
        env: [],
        fds: [-1, write, -1],
        newSession,
      });
      host.closeFd(write);
      await held(child.exited);
      const stat = readFileSync(read, 'utf8');
      host.closeFd(read);
      return [child.pid, Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[3])];
    };
    const [leader, own] = await sid(true);
    expect(own).toBe(leader);
    const [member, inherited] = await sid(false);
    expect(inherited).not.toBe(member);
  });

  it('leaves no zombie and no descriptor after many children', async () => {
    const descriptors = () => readdirSync('/proc/self/fd').length;
    await run('true');
    const before = descriptors();
    const exits = Array.from({ length: 100 }, (_, i) =>
      host.spawn({ path: sh, args: ['sh', '-c', `exit ${i}`], env: environment, fds: [-1, -1, -1] }),
    );
    const codes = await held(Promise.all(exits.map((child) => child.exited)));
    expect(codes.map((exit) => exit.code)).toEqual(Array.from({ length: 100 }, (_, i) => i));
    expect(descriptors()).toBeLessThanOrEqual(before);
    for (const child of exits) expect(existsSync(`/proc/${child.pid}`)).toBe(false);
  });

  it('gives each environment string as it is', async () => {
    const { stdout } = await host.run({ path: '/usr/bin/env', args: ['env'], env: ['A=1', 'B=two words', 'C=é'] });
    expect(stdout.toString()).toBe('A=1\nB=two words\nC=é\n');
    expect(() => host.spawn({ path: sh, args: ['sh', 'a\0b'], env: [], fds: [] })).toThrow(/NUL/);
  });
});

describe('running to the end', () => {
  it('collects both streams and feeds the input', async () => {
    const input = Buffer.alloc(300_000, 'x');
    const { stdout, stderr } = await run('cat; echo done >&2', { input });
    expect(stdout.equals(input)).toBe(true);
    expect(stderr.toString()).toBe('done\n');
  });

  it('keeps no more than the limit, and lets the program finish', async () => {
    const { code, stdout } = await run('head -c 5000000 /dev/zero; exit 3', { limit: 1000 });
    expect([code, stdout.length]).toEqual([3, 1000]);
  });

  it('kills at the timeout and says so', async () => {
    await expect(run('exec sleep 60', { timeoutMs: 100 })).rejects.toMatchObject({ code: 'ETIMEDOUT' });
  });

  it('does not wait for a grandchild that holds the output', async () => {
    const { stdout } = await run('sleep 30 & echo $!');
    const pid = Number(stdout.toString());
    expect(host.signal(pid, host.startTime(pid) ?? -1, 9)).toBe(true);
  });
});

describe('signalling', () => {
  it('never reaches a process with another start time', async () => {
    const child = host.spawn({ path: '/bin/sleep', args: ['sleep', '60'], env: [], fds: [-1, -1, -1] });
    const start = host.startTime(child.pid);
    expect(start).toBeTypeOf('number');
    expect(host.signal(child.pid, (start ?? 0) + 1, 9)).toBe(false);
    expect(readlinkSync(`/proc/${child.pid}/exe`)).toContain('sleep');
    expect(host.signal(child.pid, start ?? 0, 9)).toBe(true);
    expect((await held(child.exited)).code).toBe(137);
    expect(host.signal(child.pid, start ?? 0, 9)).toBe(false);
  });
});
