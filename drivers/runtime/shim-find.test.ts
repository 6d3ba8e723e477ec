import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { newId } from '@gantry/core/contracts/ids.js';
import type { FoundTask, Task } from '@gantry/core/contracts/runtime.js';
import { host } from '@gantry/native/index.js';
import { writeBundle } from '@gantry/test/fakes/bundle.js';
import { ATTACH_ALL, collect, forEachRuntime, until, type Bench } from '@gantry/test/fakes/tasks.js';
import { expect, it } from 'vitest';
import { ShimConnection } from './shim-connection.js';
import { Frame } from './shim-protocol.js';
import { readTaskFile } from './task-files.js';

const manifests: Record<string, string> = {
  runc: 'runtime/runc/manifest.js',
  native: 'runtime/native/manifest.js',
};

/** Where a descriptor leads; empty when it was closed meanwhile. */
function linkOf(pid: number, fd: string): string {
  try {
    return readlinkSync(`/proc/${pid}/fd/${fd}`);
  } catch {
    return '';
  }
}

/** Starts a container from another process, as a daemon would, and kills that process without warning. */
async function startAndDie(bench: Bench, args: readonly string[], openStdin = false): Promise<string> {
  const id = newId();
  const cgroup = `/gantry-test-${process.pid}-${bench.name}/${id}`;
  writeBundle(bench.bundle(id), { args, rootfs: join(bench.folder, 'rootfs'), cgroup });
  mkdirSync(bench.stateDir(id), { recursive: true });
  const workspace = (name: string): string => join(import.meta.dirname, '../..', name);
  const { log: _, host: __, ...env } = bench.env;
  const task = {
    id,
    bundle: bench.bundle(id),
    stateDir: bench.stateDir(id),
    terminal: false,
    openStdin,
    stdinOnce: true,
    log: { kind: 'json-file', path: join(bench.stateDir(id), 'log'), maxSize: 0, maxFiles: 1, compress: false, attrs: {} },
  };
  const script = `
    import { host } from ${JSON.stringify(join(workspace('native'), 'dist/index.js'))};
    import * as module from ${JSON.stringify(join(workspace('drivers'), 'dist', manifests[bench.name] ?? ''))};
    const [manifest] = Object.values(module);
    const log = { debug() {}, info() {}, warn() {}, error() {} };
    const driver = await manifest.open({ ...${JSON.stringify(env)}, host, log });
    const task = await driver.create(${JSON.stringify(task)});
    await task.attach({ stdin: true, stdout: true, stderr: true });
    await task.start();
    process.kill(process.pid, 'SIGKILL');`;
  const daemon = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'inherit', 'inherit'] });
  const signal = await new Promise((resolve) => daemon.on('exit', (_code, how) => resolve(how)));
  expect(signal).toBe('SIGKILL');
  return id;
}

forEachRuntime('a task found again', (bench) => {
  const find = async (id: string): Promise<FoundTask> =>
    (await bench().reopen()).find({ id, bundle: bench().bundle(id), stateDir: bench().stateDir(id) });
  const taskOf = (found: FoundTask): Task => {
    if (found.state === 'absent') throw new Error('absent');
    return found.task;
  };

  it('goes on without a daemon and is driven by the next one', async () => {
    const id = await startAndDie(bench(), ['sh', '-c', 'while true; do echo tick; usleep 20000; done']);
    const found = await find(id);
    expect(found.state).toBe('running');
    const task = taskOf(found);
    expect(host.process.startTime(task.pid)).toBeTypeOf('number');
    const output = collect(await task.attach({ ...ATTACH_ALL, stdin: false }));
    await until(() => output.stdout.includes('tick\n'));
    await task.kill(9);
    expect((await task.wait()).code).toBe(137);
    await output.ended;
    await task.delete();
    expect(await find(id)).toMatchObject({ state: 'exited' });
  });

  it('keeps the input that was written by the daemon that died', async () => {
    const id = await startAndDie(bench(), ['sh', '-c', 'cat; exit 4'], true);
    // The only client is gone, which ends the input of a container that is for one client.
    await until(() => existsSync(join(bench().stateDir(id), 'exit.json')));
    const found = await find(id);
    expect(found).toMatchObject({ state: 'exited', exit: { code: 4 } });
    await taskOf(found).delete();
  });

  it('tells the exit that nobody saw, and when it was', async () => {
    const before = Date.now();
    const id = await startAndDie(bench(), ['sh', '-c', 'usleep 300000; echo bye; exit 33']);
    const file = join(bench().stateDir(id), 'exit.json');
    await until(() => existsSync(file));
    await until(() => !existsSync(join(bench().runFolder(id), 'shim.sock')));
    await new Promise((resolve) => setTimeout(resolve, 200));
    const found = await find(id);
    expect(found).toMatchObject({ state: 'exited', exit: { code: 33, oomKilled: false } });
    const exit = await taskOf(found).wait();
    expect(exit.at).toBeGreaterThanOrEqual(before);
    expect(exit.at).toBeLessThan(Date.now() - 150);
    expect(readFileSync(join(bench().stateDir(id), 'log'), 'utf8')).toContain('"log":"bye\\n"');
    await taskOf(found).delete();
    // It can be asked for again: whoever recorded it did not wait for the disk.
    expect(await find(id)).toMatchObject({ state: 'exited', exit });
  });

  it('is ended and told as killed when its shim was killed', async () => {
    const id = await startAndDie(bench(), ['sleep', '60']);
    const file = await readTaskFile(bench().runFolder(id));
    expect(file).toBeDefined();
    expect(host.process.signal(file?.shim ?? 0, file?.shimStart ?? 0, 9)).toBe(true);
    await until(() => host.process.startTime(file?.shim ?? 0) !== file?.shimStart);
    const found = await find(id);
    expect(found).toMatchObject({ state: 'exited', exit: { code: 137 } });
    await until(() => host.process.startTime(file?.pid ?? 0) !== file?.start);
    await taskOf(found).delete();
  });

  it('is told as killed at once when its shim dies under a daemon that lives', async () => {
    const task = await bench().create(['sleep', '60']);
    await task.start();
    const file = await readTaskFile(bench().runFolder(task.id));
    host.process.signal(file?.shim ?? 0, file?.shimStart ?? 0, 9);
    expect((await task.wait()).code).toBe(137);
    expect(host.process.startTime(task.pid)).not.toBe(file?.start);
  });

  it('is not taken for dead because its shim does not answer', async () => {
    const task = await bench().create(['sleep', '60']);
    await task.start();
    const file = await readTaskFile(bench().runFolder(task.id));
    host.process.signal(file?.shim ?? 0, file?.shimStart ?? 0, 19);
    try {
      await expect(find(task.id)).rejects.toMatchObject({ kind: 'unavailable' });
    } finally {
      host.process.signal(file?.shim ?? 0, file?.shimStart ?? 0, 18);
    }
    expect((await find(task.id)).state).toBe('running');
  });

  it('was started although it ended before its shim came to see that', async () => {
    if (bench().name !== 'native') return;
    const task = await bench().create(['true']);
    const file = await readTaskFile(bench().runFolder(task.id));
    if (!file) throw new Error('no task file');
    const shim = (signal: number) => host.process.signal(file.shim, file.shimStart, signal);
    const first = (signal: number) => host.process.signal(file.pid, file.start, signal);
    // The shim opens the fifo while the process cannot; then the process does all its work while the shim cannot look.
    first(19);
    const started = task.start();
    started.catch(() => undefined);
    await until(() => readdirSync(`/proc/${file.shim}/fd`).some((fd) => linkOf(file.shim, fd).endsWith('/exec.fifo')));
    shim(19);
    first(18);
    await until(() => readFileSync(`/proc/${file.pid}/stat`, 'utf8').includes(') Z '));
    shim(18);
    await started;
    expect((await task.wait()).code).toBe(0);
  });

  it('keeps its exit in the run folder when the disk is full', async () => {
    const task = await bench().create(['sleep', '60']);
    const folder = bench().stateDir(task.id);
    await task.start();
    // A tmpfs of one page, taken by one file.
    expect(spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=4k', 'tmpfs', folder]).status).toBe(0);
    try {
      writeFileSync(join(folder, 'full'), Buffer.alloc(4096));
      await task.kill(15);
      await task.kill(9).catch(() => undefined);
      const exit = await task.wait();
      expect(existsSync(join(folder, 'exit.json'))).toBe(false);
      expect(readdirSync(folder)).toEqual(['full']);
      const found = await find(task.id);
      expect(found).toMatchObject({ state: 'exited', exit: { code: exit.code } });
    } finally {
      spawnSync('umount', [folder]);
    }
  });

  it('leaves nothing when it is given up while it is made', async () => {
    // runc leaves cgroups when it is killed while it makes them.
    if (bench().name !== 'native') return;
    for (let i = 0; i < 10; ++i) {
      const id = newId();
      const making = bench().create(['sleep', '60'], { id });
      making.catch(() => undefined);
      await until(() => existsSync(join(bench().runFolder(id), 'task.json')));
      const file = await readTaskFile(bench().runFolder(id));
      await new Promise((resolve) => setTimeout(resolve, i * 2));
      const control = await ShimConnection.connect(bench().runFolder(id), 5000).catch(() => undefined);
      await control?.request(Frame.delete).catch(() => undefined);
      await making.then(
        (task) => task.wait(),
        () => undefined,
      );
      control?.close();
      await until(() => host.process.startTime(file?.shim ?? 0) !== file?.shimStart);
      expect(existsSync(join(bench().env.runRoot, 'state', id))).toBe(false);
    }
  });

  it('is absent after a reboot, whoever has its pid now', async () => {
    const id = newId();
    const folder = bench().runFolder(id);
    mkdirSync(folder, { recursive: true });
    mkdirSync(bench().stateDir(id), { recursive: true });
    const start = host.process.startTime(process.pid);
    const file = { version: 1, boot: 'another', shim: process.pid, shimStart: start, pid: process.pid, start };
    writeFileSync(join(folder, 'task.json'), JSON.stringify(file));
    expect((await find(id)).state).toBe('absent');
    rmSync(folder, { recursive: true, force: true });
  });

  it('does not take the end of an earlier run for its own', async () => {
    const id = newId();
    const first = await bench().run(['sh', '-c', 'exit 3'], { id });
    await first.task.delete();
    expect(await find(id)).toMatchObject({ state: 'exited', exit: { code: 3 } });
    const again = await bench().create(['sleep', '60'], { id });
    expect(existsSync(join(bench().stateDir(id), 'exit.json'))).toBe(false);
    await again.start();
    expect((await find(id)).state).toBe('running');
    await again.kill(9);
    await again.wait();
    await again.delete();
  });

  it('does not take the name of one that runs', async () => {
    const task = await bench().create(['sleep', '60']);
    await expect(bench().create(['sleep', '60'], { id: task.id })).rejects.toMatchObject({ kind: 'conflict' });
    await task.start();
    await task.kill(9);
    await task.wait();
  });

  it('leaves no descriptor, process or file behind', async () => {
    await bench().run(['true']);
    const descriptors = () => readdirSync('/proc/self/fd').length;
    const before = descriptors();
    for (let i = 0; i < 5; ++i) {
      const { task } = await bench().run(['true']);
      await task.delete();
      expect(existsSync(bench().runFolder(task.id))).toBe(false);
      // It stays, for whoever recorded the exit did not wait for the disk.
      expect(readdirSync(bench().stateDir(task.id))).toEqual(['exit.json']);
    }
    expect(descriptors()).toBeLessThanOrEqual(before);
  });
});
