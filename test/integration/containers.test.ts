import { existsSync, readFileSync, writeFileSync, mkdirSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ContainerConfig, HostConfig } from '@gantry/core/container/container.js';
import type { CreateContainer } from '@gantry/core/container/containers.js';
import { config, hostConfig } from '../fakes/records.js';
import { TestClient, TestEngine, leftovers, newRoot, runtimesHere, whyNoContainers } from './engine.js';

const why = whyNoContainers();
if (why !== '') console.log(`skipped: containers on a real kernel: ${why}`);

const request = (own: Partial<ContainerConfig>, host: Partial<HostConfig> = {}, rest: Partial<CreateContainer> = {}): CreateContainer => ({
  name: '',
  platform: '',
  config: config({ image: 'busybox', hostname: '', ...own }),
  hostConfig: hostConfig({
    networkMode: 'none',
    logDriver: '',
    runtime: '',
    shmSize: 0,
    ipcMode: '',
    cgroupnsMode: '',
    maskedPaths: undefined,
    readonlyPaths: undefined,
    ...host,
  }),
  endpoints: {},
  storageDriver: '',
  ...rest,
});

const never = new AbortController().signal;

describe.skipIf(why !== '').each(runtimesHere())('containers on a real kernel, run by %s', (runtime) => {
  let root: string;
  let engine: TestEngine;

  beforeEach(async () => {
    root = newRoot();
    engine = await TestEngine.start(root, { runtime });
  });

  afterEach(async () => {
    await engine.destroy();
    expect(await leftovers(root)).toEqual([]);
  });

  const create = async (own: Partial<ContainerConfig>, host: Partial<HostConfig> = {}, rest: Partial<CreateContainer> = {}) =>
    (await engine.containers.create(request(own, host, rest))).id;

  /** Runs to its end with output attached. */
  const run = async (
    own: Partial<ContainerConfig>,
    host: Partial<HostConfig> = {},
    input?: string,
  ): Promise<{ id: string; stdout: string; stderr: string; exitCode: number }> => {
    const id = await create(own, host);
    const client = new TestClient(input !== undefined);
    const options = { stdin: input !== undefined, stdout: true, stderr: true, logs: false, stream: true, detachKeys: '' };
    const attached = engine.containers.attach(id, options, async () => client);
    const { result } = await engine.containers.wait(id, 'next-exit', never);
    await engine.containers.start(id);
    if (input !== undefined) {
      client.type(input);
      client.endInput();
    }
    const { exitCode } = await result;
    await attached;
    return { id, stdout: client.text('stdout'), stderr: client.text('stderr'), exitCode };
  };

  it('runs a program, streams its output and records its exit code', async () => {
    const { id, stdout, stderr, exitCode } = await run({ cmd: ['sh', '-c', 'echo out; echo err >&2; exit 3'] });
    expect([stdout, stderr, exitCode]).toEqual(['out\n', 'err\n', 3]);
    const { container } = await engine.containers.inspect(id);
    expect(container.state).toMatchObject({ status: 'exited', exitCode: 3, pid: 0 });
    expect(engine.actions(id)).toEqual(['create', 'attach', 'start', 'die 3']);
  });

  it('passes input on and ends it', async () => {
    const { stdout, exitCode } = await run({ cmd: ['cat'], openStdin: true, stdinOnce: true }, {}, 'hello\n');
    expect([stdout, exitCode]).toEqual(['hello\n', 0]);
  });

  it('gives a process its environment, user, folder, host name and limits', async () => {
    const { stdout } = await run({
      cmd: ['sh', '-c', 'id; pwd; hostname; echo $IMAGE $HOME $A; grep CapBnd /proc/self/status'],
      user: 'app',
      workingDir: '/new/place',
      env: ['A=b'],
      hostname: 'me',
    });
    expect(stdout).toBe(
      'uid=1000(app) gid=1001(app) groups=1001(app),2000(extra)\n/new/place\nme\nyes /data b\nCapBnd:\t00000000a80425fb\n',
    );
  });

  it('answers 127 and 126 to programs that cannot be run, and leaves the container as created', async () => {
    const missing = await create({ cmd: ['/no/such'] });
    await expect(engine.containers.start(missing)).rejects.toMatchObject({
      kind: 'invalid-parameter',
      message: expect.stringContaining('no such file or directory'),
    });
    expect((await engine.containers.inspect(missing)).container.state).toMatchObject({ status: 'created', exitCode: 127 });
    const denied = await create({ cmd: ['/data/seed'] });
    await expect(engine.containers.start(denied)).rejects.toMatchObject({ message: expect.stringContaining('permission denied') });
    expect((await engine.containers.inspect(denied)).container.state).toMatchObject({ status: 'created', exitCode: 126 });
  });

  it('stops by signal, and by force after the timeout', async () => {
    const gentle = await create({ cmd: ['sh', '-c', 'trap "exit 7" TERM; echo ready; while :; do sleep 0.1; done'] });
    await engine.containers.start(gentle);
    await expect(engine.containers.start(gentle)).rejects.toMatchObject({ kind: 'not-modified' });
    const { entries } = await engine.containers.logs(gentle, { stdout: true, stderr: true, follow: true });
    for await (const { line } of entries) if (line.toString() === 'ready\n') break;
    await engine.containers.stop(gentle, {});
    expect((await engine.containers.inspect(gentle)).container.state.exitCode).toBe(7);
    expect(engine.actions(gentle)).toEqual(['create', 'start', 'kill', 'die 7', 'stop']);
    await expect(engine.containers.stop(gentle, {})).rejects.toMatchObject({ kind: 'not-modified' });
    const deaf = await create({ cmd: ['sleep', '1000'] });
    await engine.containers.start(deaf);
    await engine.containers.stop(deaf, { timeout: 0 });
    expect((await engine.containers.inspect(deaf)).container.state.exitCode).toBe(137);
  });

  it('executes in a running container and knows the exit code before the end of the stream', async () => {
    const id = await create({ cmd: ['sleep', '1000'] });
    await engine.containers.start(id);
    const exec = async (cmd: string[], more: Record<string, unknown> = {}) => {
      const execId = await engine.execs.create(id, {
        attachStdin: false,
        attachStdout: true,
        attachStderr: true,
        tty: false,
        detachKeys: '',
        env: [],
        workingDir: '',
        user: '',
        privileged: false,
        cmd,
        consoleSize: undefined,
        ...more,
      });
      const client = new TestClient();
      let codeAtEnd: number | undefined;
      const end = client.end.bind(client);
      client.end = () => {
        codeAtEnd = engine.execs.inspect(execId).exitCode;
        end();
      };
      await engine.execs.start(execId, { detach: false, tty: false }, async () => client);
      return { out: client.text(), codeAtEnd };
    };
    expect(await exec(['sh', '-c', 'echo $A; pwd; id -u; exit 4'], { env: ['A=x'], workingDir: '/tmp', user: 'app' })).toEqual({
      out: 'x\n/tmp\n1000\n',
      codeAtEnd: 4,
    });
    const missing = await exec(['nope']);
    expect(missing.out).toContain('executable file not found');
    expect(missing.codeAtEnd).toBe(127);
    await engine.containers.kill(id, 'KILL');
    await expect(exec(['true'])).rejects.toMatchObject({ kind: 'conflict', message: `container ${id} is not running` });
  });

  it('fills a new volume from the image, keeps it, and removes an anonymous one with its container', async () => {
    const first = await run({ cmd: ['sh', '-c', 'cat /data/seed; echo more > /data/more'] }, { binds: ['v1:/data'] });
    expect(first.stdout).toBe('from the image\n');
    const second = await run({ cmd: ['sh', '-c', 'cat /data/more'], volumes: ['/anonymous'] }, { binds: ['v1:/data:ro'] });
    expect(second.stdout).toBe('more\n');
    await expect(engine.volumes.remove('v1', { force: false })).rejects.toMatchObject({ kind: 'conflict' });
    const anonymous = (await engine.containers.inspect(second.id)).container.mounts.find((mount) => mount.anonymous)?.name ?? '';
    await engine.containers.remove(second.id, { force: false, volumes: true });
    await expect(engine.volumes.inspect(anonymous)).rejects.toMatchObject({ kind: 'not-found' });
    await engine.containers.remove(first.id, { force: false, volumes: true });
    await engine.volumes.remove('v1', { force: false });
  });

  it('binds host folders, making a missing one for -v and refusing it for --mount', async () => {
    const folder = join(root, 'made/here');
    const { stdout } = await run({ cmd: ['sh', '-c', 'echo in > /b/file; ls /b'] }, { binds: [`${folder}:/b`] });
    expect([stdout, readFileSync(join(folder, 'file'), 'utf8')]).toEqual(['file\n', 'in\n']);
    const mount = { type: 'bind' as const, source: join(root, 'absent'), target: '/x', readOnly: false };
    await expect(create({ cmd: ['true'] }, { mounts: [mount] })).rejects.toMatchObject({
      kind: 'invalid-parameter',
      message: `invalid mount config for type "bind": bind source path does not exist: ${join(root, 'absent')}`,
    });
  });

  it('removes itself when it shall, and tells those who wait', async () => {
    const id = await create({ cmd: ['sh', '-c', 'exit 5'] }, { autoRemove: true });
    const { result } = await engine.containers.wait(id, 'removed', never);
    await engine.containers.start(id);
    expect((await result).exitCode).toBe(5);
    await expect(engine.containers.inspect(id)).rejects.toMatchObject({ message: `No such container: ${id}` });
    expect(existsSync(join(root, 'data/containers', id))).toBe(false);
  });

  it('restarts on failure as often as asked', async () => {
    const id = await create({ cmd: ['false'] }, { restartPolicy: { name: 'on-failure', maximumRetryCount: 2 } });
    const { result } = await engine.containers.wait(id, 'not-running', never);
    await expect(result).resolves.toEqual({ exitCode: 0, error: undefined });
    await engine.containers.start(id);
    const ended = await engine.containers.wait(id, 'not-running', never);
    await ended.result;
    expect((await engine.containers.inspect(id)).container).toMatchObject({ restartCount: 2, state: { status: 'exited', exitCode: 1 } });
  });

  it('pauses and goes on', async () => {
    const id = await create({ cmd: ['sleep', '1000'] });
    await engine.containers.start(id);
    await engine.containers.pause(id);
    expect((await engine.containers.inspect(id)).container.state.status).toBe('paused');
    await expect(engine.containers.remove(id, { force: false, volumes: false })).rejects.toMatchObject({ kind: 'conflict' });
    await engine.containers.unpause(id);
    await engine.containers.stop(id, { timeout: 0 });
  });

  it('copies files in and out of running and stopped containers', async () => {
    const id = await create({ cmd: ['sleep', '1000'] });
    const out = async (path: string): Promise<string> => {
      const { content } = await engine.containers.archive(id, path);
      const chunks: Buffer[] = [];
      for await (const chunk of content) chunks.push(chunk as Buffer);
      return Buffer.concat(chunks).toString('latin1');
    };
    expect(await out('/data/seed')).toContain('from the image');
    expect((await engine.containers.statPath(id, '/data/seed')).size).toBe(15);
    await expect(engine.containers.statPath(id, '/nope')).rejects.toMatchObject({ kind: 'not-found' });
    await engine.containers.start(id);
    expect(await out('/data')).toContain('from the image');
    // Just started it may still be the runtime's own process, before its exec.
    const commands = async (): Promise<unknown> => (await engine.containers.top(id, '')).processes.map((fields) => fields.at(-1));
    await expect.poll(commands).toEqual(['sleep 1000']);
    expect((await engine.containers.sample(id)).usage?.pids).toBe(1);
    await engine.containers.stop(id, { timeout: 0 });
  });

  const text = async (content: AsyncIterable<unknown>): Promise<string> => {
    const chunks: Buffer[] = [];
    for await (const chunk of content) chunks.push(chunk as Buffer);
    return Buffer.concat(chunks).toString('latin1');
  };

  it('tells what a container changed, exports it, and takes an archive in', async () => {
    const { id } = await run({ cmd: ['sh', '-c', 'echo new > /tmp/new; rm /data/seed; echo x >> /etc/group'] });
    const changes = await engine.containers.changes(id);
    expect(changes.map(({ path, kind }) => `${kind} ${path}`).sort()).toEqual([
      'added /tmp/new',
      'deleted /data/seed',
      'modified /data',
      'modified /etc',
      'modified /etc/group',
      'modified /tmp',
    ]);
    const exported = await text(await engine.containers.export(id));
    expect([exported.includes('tmp/new'), exported.includes('data/seed')]).toEqual([true, false]);
    const tree = join(root, 'in');
    mkdirSync(tree);
    writeFileSync(join(tree, 'given'), 'by cp');
    const archive = Readable.from(execFileSync('tar', ['-C', tree, '-c', 'given']));
    await engine.containers.extract(id, '/data', archive, { noOverwriteDirNonDir: false, copyUidGid: false });
    expect((await engine.containers.statPath(id, '/data/given')).size).toBe(5);
    await expect(
      engine.containers.extract(id, '/data/given', Readable.from([Buffer.alloc(1024)]), { noOverwriteDirNonDir: false, copyUidGid: false }),
    ).rejects.toMatchObject({ kind: 'invalid-parameter', message: 'extraction point is not a directory' });
  });

  it('keeps the log, replays it to who attaches late, and follows it to the end', async () => {
    const id = await create({ cmd: ['sh', '-c', 'echo one; sleep 0.5; echo two >&2'] });
    await engine.containers.start(id);
    const { entries } = await engine.containers.logs(id, { stdout: true, stderr: true, follow: true });
    const lines: string[] = [];
    for await (const { stream, line } of entries) lines.push(`${stream} ${line.toString()}`);
    expect(lines).toEqual(['stdout one\n', 'stderr two\n']);
    const client = new TestClient();
    await engine.containers.attach(
      id,
      { stdin: false, stdout: true, stderr: true, logs: true, stream: false, detachKeys: '' },
      async () => client,
    );
    expect(client.text()).toBe('one\ntwo\n');
  });

  it('lets a terminal go by the detach keys, and resizes it', async () => {
    const id = await create({ cmd: ['sh'], tty: true, openStdin: true });
    await engine.containers.start(id);
    const client = new TestClient(true);
    const attached = engine.containers.attach(
      id,
      { stdin: true, stdout: true, stderr: true, logs: false, stream: true, detachKeys: '' },
      async () => client,
    );
    client.type('echo $((40+2))\n');
    await expect.poll(() => client.text()).toContain('42');
    await engine.containers.resize(id, 30, 100);
    client.type('\x10');
    client.type('\x11');
    await attached;
    expect((await engine.containers.inspect(id)).container.state.status).toBe('running');
    expect(engine.actions(id)).toContain('detach');
    await engine.containers.stop(id, { timeout: 0 });
  });

  it('probes health', async () => {
    const healthcheck = {
      test: ['CMD-SHELL', 'test -e /tmp/ok && echo fine'],
      interval: 2e8,
      timeout: 2e9,
      startPeriod: 0,
      startInterval: 0,
      retries: 1,
    };
    const id = await create({ cmd: ['sleep', '1000'], healthcheck });
    await engine.containers.start(id);
    const health = async () => (await engine.containers.inspect(id)).container.state.health;
    expect((await health())?.status).toBe('starting');
    await expect.poll(async () => (await health())?.status).toBe('unhealthy');
    const execId = await engine.execs.create(id, {
      attachStdin: false,
      attachStdout: false,
      attachStderr: false,
      tty: false,
      detachKeys: '',
      env: [],
      workingDir: '',
      user: '',
      privileged: false,
      cmd: ['touch', '/tmp/ok'],
      consoleSize: undefined,
    });
    await engine.execs.start(execId, { detach: true, tty: false }, async () => new TestClient());
    await expect.poll(async () => (await health())?.status).toBe('healthy');
    expect((await health())?.log.at(-1)).toMatchObject({ exitCode: 0, output: 'fine\n' });
    expect(engine.actions(id)).toContain('health_status: healthy');
    await engine.containers.stop(id, { timeout: 0 });
  });

  it('changes limits and name of a running container', async () => {
    const id = await create({ cmd: ['sleep', '1000'] }, { memory: 64 << 20 }, { name: 'before' });
    await expect(create({ cmd: ['true'] }, {}, { name: 'before' })).rejects.toMatchObject({ kind: 'conflict' });
    await engine.containers.start(id);
    await engine.containers.update(id, { resources: { memory: 32 << 20, pidsLimit: 20 } });
    await expect.poll(async () => (await engine.containers.sample(id)).usage?.memoryLimit).toBe(32 << 20);
    expect((await engine.containers.sample(id)).usage?.pidsLimit).toBe(20);
    await engine.containers.rename('before', 'after');
    expect((await engine.containers.inspect('/after')).container.id).toBe(id);
    await engine.containers.kill('after', '');
    expect((await engine.containers.inspect(id)).container.state.exitCode).toBe(137);
  });

  it('joins namespaces of another container', async () => {
    const donor = await create({ cmd: ['sleep', '1000'], hostname: 'donor' }, { ipcMode: 'shareable', binds: ['shared:/shared'] });
    await engine.containers.start(donor);
    const mode = `container:${donor}`;
    const { stdout, exitCode } = await run(
      { cmd: ['sh', '-c', 'echo y > /dev/shm/x; echo z > /shared/f; hostname; ls /proc/1/root >/dev/null; cat /proc/1/cmdline'] },
      { networkMode: mode, ipcMode: mode, pidMode: mode, volumesFrom: [donor] },
    );
    expect([stdout, exitCode]).toEqual(['donor\nsleep\x001000\x00', 0]);
    const { content } = await engine.containers.archive(donor, '/dev/shm/x');
    expect(await text(content)).toContain('y\n');
    await engine.containers.stop(donor, { timeout: 0 });
    const late = await create({ cmd: ['true'] }, { networkMode: mode });
    await expect(engine.containers.start(late)).rejects.toMatchObject({
      kind: 'conflict',
      message: `cannot join network of a non running container: ${donor}`,
    });
    for (const { id } of await engine.containers
      .list({ all: true, limit: 0, size: false, filters: new Map() })
      .then((views) => views.map((view) => view.container))) {
      await engine.containers.remove(id, { force: true, volumes: true });
    }
    await engine.volumes.remove('shared', { force: false });
  });

  it('lists by filter, newest first', async () => {
    const first = await create({ cmd: ['true'], labels: { a: 'x' } }, {}, { name: 'first' });
    const second = await create({ cmd: ['sleep', '100'] }, {}, { name: 'second' });
    await engine.containers.start(second);
    const list = async (all: boolean, ...filters: [string, string[]][]) =>
      (await engine.containers.list({ all, limit: 0, size: false, filters: new Map(filters) })).map(({ container }) => container.name);
    expect(await list(true)).toEqual(['second', 'first']);
    expect(await list(false)).toEqual(['second']);
    expect(await list(false, ['status', ['created']])).toEqual(['first']);
    expect(await list(true, ['label', ['a=x']])).toEqual(['first']);
    expect(await list(true, ['name', ['^/sec']])).toEqual(['second']);
    expect(await list(true, ['before', ['second']])).toEqual(['first']);
    expect(await list(true, ['ancestor', ['busybox']])).toHaveLength(2);
    await expect(list(true, ['nonsense', ['x']])).rejects.toThrow("invalid filter 'nonsense'");
    expect((await engine.containers.prune(new Map())).deleted).toEqual([first]);
  });

  it('takes running containers back after the daemon went away', async () => {
    const stays = await create({ cmd: ['sh', '-c', 'echo one; cat; exit 6'], openStdin: true });
    const goes = await create({ cmd: ['sh', '-c', 'sleep 0.5; exit 9'] });
    const always = await create({ cmd: ['sh', '-c', 'sleep 0.3; exit 1'] }, { restartPolicy: { name: 'always', maximumRetryCount: 0 } });
    for (const id of [stays, goes, always]) await engine.containers.start(id);
    const { pid } = (await engine.containers.inspect(stays)).container.state;
    const mortal = (await engine.containers.inspect(goes)).container.state.pid;
    await engine.stop();
    await expect.poll(() => existsSync(`/proc/${mortal}`)).toBe(false);
    engine = await TestEngine.start(root, { runtime });
    expect((await engine.containers.inspect(stays)).container.state).toMatchObject({ status: 'running', pid });
    await expect.poll(async () => (await engine.containers.inspect(goes)).container.state).toMatchObject({ status: 'exited', exitCode: 9 });
    const restarted = async (): Promise<number> => (await engine.containers.inspect(always)).container.restartCount;
    await expect.poll(restarted).toBeGreaterThan(0);
    const { result } = await engine.containers.wait(stays, 'not-running', never);
    await engine.containers.stop(stays, { timeout: 0 });
    expect((await result).exitCode).toBe(137);
  });

  it('finishes a removal and undoes a creation that were cut off', async () => {
    const id = await create({ cmd: ['true'] });
    engine.room.store.updateState(id, { status: 'removing' });
    const orphan = 'f'.repeat(64);
    engine.room.journal.begin('container.create', orphan, {});
    mkdirSync(join(root, 'data/containers', orphan));
    writeFileSync(join(root, 'data/containers', orphan, 'hosts'), '');
    await engine.stop();
    engine = await TestEngine.start(root, { runtime });
    expect(engine.room.store.size).toBe(0);
    expect(existsSync(join(root, 'data/containers', orphan))).toBe(false);
    expect(engine.room.journal.pending()).toEqual([]);
  });
});
