import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { binFolder } from '@gantry/native/addon.js';
import { host } from '@gantry/native/index.js';
import { newId } from '@gantry/core/contracts/ids.js';
import type { LogTarget } from '@gantry/core/contracts/log.js';
import type { DriverEnv, DriverManifest } from '@gantry/core/contracts/manifest.js';
import type { CreateTask, RuntimeDriver, Task, TaskStream } from '@gantry/core/contracts/runtime.js';
import { busyboxRootfs, noContainers, ociProcess, writeBundle, type BundleOptions } from '@gantry/test/fakes/bundle.js';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { nativeRuntime } from './native/manifest.js';
import { runcRuntime } from './runc/manifest.js';

const shim = join(binFolder, 'gantry-shim');

const runtimes: { manifest: DriverManifest<'runtime'>; options: Record<string, string>; missing: string | undefined }[] = [
  { manifest: runcRuntime, options: { shim }, missing: existsSync('/usr/sbin/runc') ? undefined : 'runc is not installed' },
  {
    manifest: nativeRuntime,
    options: { shim, path: join(binFolder, 'gantry-runtime') },
    missing: existsSync(join(binFolder, 'gantry-runtime')) ? undefined : 'gantry-runtime is not built',
  },
];

interface Output {
  stdout: string;
  stderr: string;
  ended: Promise<void>;
}

function collect(stream: TaskStream): Output {
  const output: Output = { stdout: '', stderr: '', ended: stream.ended };
  stream.onOutput((name, chunk) => {
    output[name] += chunk.toString('latin1');
  });
  return output;
}

async function until(condition: () => boolean, ms = 5000): Promise<void> {
  const end = performance.now() + ms;
  while (!condition()) {
    if (performance.now() > end) throw new Error('did not happen in time');
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

const ALL = { stdin: true, stdout: true, stderr: true };

for (const { manifest, options, missing } of runtimes) {
  const why = noContainers() ?? missing;
  if (why !== undefined) console.log(`runtime ${manifest.name}: skipped: ${why}`);

  describe.skipIf(why !== undefined)(`runtime ${manifest.name} behind its shim`, () => {
    let folder: string;
    let env: DriverEnv;
    let driver: RuntimeDriver;
    const tasks: Task[] = [];

    beforeAll(async () => {
      folder = mkdtempSync('/tmp/gantry-shim-');
      mkdirSync(join(folder, 'rootfs'));
      busyboxRootfs(join(folder, 'rootfs'));
      const quiet = (): void => undefined;
      env = {
        root: join(folder, 'root'),
        runRoot: join(folder, 'run'),
        instance: 'test',
        options,
        host,
        log: { debug: quiet, info: quiet, warn: quiet, error: quiet },
      };
      mkdirSync(env.runRoot);
      expect(await manifest.probe(env)).toEqual({ ok: true });
      driver = await manifest.open(env);
    });

    afterEach(async () => {
      for (const task of tasks.splice(0)) await task.delete();
      expect(existsSync(join(env.runRoot, 'tasks')) ? readdirSync(join(env.runRoot, 'tasks')) : []).toEqual([]);
      expect(existsSync(join(env.runRoot, 'state')) ? readdirSync(join(env.runRoot, 'state')) : []).toEqual([]);
    });

    afterAll(() => rmSync(folder, { recursive: true, force: true }));

    const idOf = (task: Task): string => task.id;
    const stateOf = (id: string): string => join(folder, 'state', id);

    async function create(
      args: readonly string[],
      more: Partial<CreateTask> & { bundleOptions?: Partial<BundleOptions> } = {},
    ): Promise<Task> {
      const id = newId();
      const bundle = join(folder, 'bundles', id);
      mkdirSync(bundle, { recursive: true });
      writeBundle(bundle, {
        args,
        rootfs: join(folder, 'rootfs'),
        cgroup: `/gantry-shim-test/${id}`,
        terminal: more.terminal ?? false,
        ...more.bundleOptions,
      });
      mkdirSync(stateOf(id), { recursive: true });
      const log: LogTarget = { kind: 'none' };
      const task = await driver.create({
        id,
        bundle,
        stateDir: stateOf(id),
        terminal: false,
        openStdin: false,
        stdinOnce: false,
        log,
        ...more,
      });
      tasks.push(task);
      return task;
    }

    async function run(args: readonly string[], more: Parameters<typeof create>[1] = {}) {
      const task = await create(args, more);
      const output = collect(await task.attach({ stdin: false, stdout: true, stderr: true }));
      await task.start();
      const exit = await task.wait();
      await output.ended;
      return { task, exit, output };
    }

    it('gives both streams and the exit code', async () => {
      const before = Date.now();
      const { exit, output, task } = await run(['sh', '-c', 'echo out; echo err >&2; exit 42']);
      expect(output).toMatchObject({ stdout: 'out\n', stderr: 'err\n' });
      expect(exit).toMatchObject({ code: 42, oomKilled: false });
      expect(exit.at).toBeGreaterThanOrEqual(before);
      expect(JSON.parse(readFileSync(join(stateOf(idOf(task)), 'exit.json'), 'utf8'))).toMatchObject({ code: 42 });
    });

    it('tells death by a signal as 128 + n', async () => {
      const task = await create(['sleep', '60']);
      await task.start();
      await task.kill(9);
      expect((await task.wait()).code).toBe(137);
      await expect(task.kill(9)).rejects.toMatchObject({ kind: 'conflict' });
    });

    it('does not start by itself, and is deleted before it was started', async () => {
      const task = await create(['sh', '-c', 'exit 1']);
      expect(task.pid).toBeGreaterThan(1);
      await new Promise((resolve) => setTimeout(resolve, 100));
      expect(host.process.startTime(task.pid)).toBeTypeOf('number');
      await task.delete();
      expect(host.process.startTime(task.pid)).toBeUndefined();
    });

    it('names a missing executable as clients expect it, and leaves nothing', async () => {
      const failure = await create(['/no/such/program']).then(
        (task) =>
          task.start().then(
            () => undefined,
            (error: unknown) => error,
          ),
        (error: unknown) => error,
      );
      expect(failure).toMatchObject({ name: 'EngineError', kind: 'invalid-parameter' });
      expect(String(failure)).toMatch(/no such file or directory|executable file not found/);
      const bare = await create(['nosuchprogram']).then(
        (task) =>
          task.start().then(
            () => undefined,
            (error: unknown) => error,
          ),
        (error: unknown) => error,
      );
      expect(String(bare)).toContain('executable file not found');
    });

    it('feeds standard input until the first client ends it', async () => {
      const task = await create(['cat'], { openStdin: true, stdinOnce: true });
      const stream = await task.attach(ALL);
      const output = collect(stream);
      await task.start();
      await stream.write(Buffer.from('hello\n'));
      await until(() => output.stdout === 'hello\n');
      stream.closeStdin();
      expect((await task.wait()).code).toBe(0);
      await output.ended;
    });

    it('kills what is deleted while it runs', async () => {
      const task = await create(['sh', '-c', 'sleep 100 & sleep 100']);
      await task.start();
      await task.delete();
      expect((await task.wait()).code).toBe(137);
    });

    it('runs another process with streams, code and signals of its own', async () => {
      const task = await create(['sleep', '60']);
      await task.start();
      const spec = { process: ociProcess(['sh', '-c', 'cat; echo err >&2; exit 3']), terminal: false, openStdin: true };
      const process = await task.exec(newId(), spec, ALL);
      const output = collect(process.stream);
      await process.stream.write(Buffer.from('through'));
      process.stream.closeStdin();
      expect((await process.wait()).code).toBe(3);
      await output.ended;
      expect(output).toMatchObject({ stdout: 'through', stderr: 'err\n' });

      const sleeper = await task.exec(newId(), { process: ociProcess(['sleep', '60']), terminal: false, openStdin: false }, ALL);
      await sleeper.kill(15);
      expect((await sleeper.wait()).code).toBe(143);
    });
  });
}
