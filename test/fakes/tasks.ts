import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { newId } from '@gantry/core/contracts/ids.js';
import type { DriverEnv, DriverManifest } from '@gantry/core/contracts/manifest.js';
import type { CreateTask, Exit, RuntimeDriver, Task, TaskStream } from '@gantry/core/contracts/runtime.js';
import { nativeRuntime } from '@gantry/drivers/runtime/native/manifest.js';
import { runcRuntime } from '@gantry/drivers/runtime/runc/manifest.js';
import { binFolder } from '@gantry/native/addon.js';
import { host } from '@gantry/native/index.js';
import { afterAll, afterEach, beforeAll, describe, expect } from 'vitest';
import { busyboxRootfs, noContainers, writeBundle, type BundleOptions } from './bundle.js';

const shim = join(binFolder, 'gantry-shim');
const gantryRuntime = join(binFolder, 'gantry-runtime');

const RUNTIMES: readonly { manifest: DriverManifest<'runtime'>; options: Record<string, string>; missing: string | undefined }[] = [
  { manifest: runcRuntime, options: { shim }, missing: existsSync('/usr/sbin/runc') ? undefined : 'runc is not installed' },
  {
    manifest: nativeRuntime,
    options: { shim, path: gantryRuntime },
    missing: existsSync(gantryRuntime) ? undefined : 'gantry-runtime is not built',
  },
];

export interface Output {
  stdout: string;
  stderr: string;
  readonly ended: Promise<void>;
}

export function collect(stream: TaskStream): Output {
  const output: Output = { stdout: '', stderr: '', ended: stream.ended };
  stream.onOutput((name, chunk) => {
    output[name] += chunk.toString('latin1');
  });
  return output;
}

export async function until(condition: () => boolean, ms = 60_000): Promise<void> {
  const end = performance.now() + ms * Number(process.env['GANTRY_SLOW'] ?? 1);
  while (!condition()) {
    if (performance.now() > end) throw new Error('did not happen in time');
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

export const ATTACH_ALL = { stdin: true, stdout: true, stderr: true };
const OUTPUT_ONLY = { stdin: false, stdout: true, stderr: true };

export type CreateOptions = Partial<CreateTask> & { readonly bundleOptions?: Partial<BundleOptions> };

/** One runtime on the real kernel in folders of its own. */
export interface Bench {
  readonly name: string;
  readonly folder: string;
  readonly env: DriverEnv;
  readonly driver: RuntimeDriver;
  create(args: readonly string[], options?: CreateOptions): Promise<Task>;
  /** From create to the end of output. */
  run(args: readonly string[], options?: CreateOptions): Promise<{ task: Task; exit: Exit; output: Output }>;
  stateDir(id: string): string;
  bundle(id: string): string;
  runFolder(id: string): string;
  /** A daemon of the next life: the same folders, nothing remembered. */
  reopen(): Promise<RuntimeDriver>;
}

/** Runs a suite for each runtime that this machine has; skips with the reason printed. What a test leaves fails it. */
export function forEachRuntime(title: string, suite: (bench: () => Bench) => void): void {
  for (const { manifest, options, missing } of RUNTIMES) {
    const why = noContainers() ?? missing;
    if (why !== undefined) console.log(`${title} with ${manifest.name}: skipped: ${why}`);
    describe.skipIf(why !== undefined)(`${title} with ${manifest.name}`, () => {
      const cgroupParent = `gantry-test-${process.pid}-${manifest.name}`;
      const tasks: Task[] = [];
      let bench: Bench | undefined;

      beforeAll(async () => {
        bench = await openBench(manifest, options, cgroupParent, tasks);
      });

      afterEach(async () => {
        for (const task of tasks.splice(0)) await task.delete();
        if (!bench) return;
        for (const left of ['tasks', 'state']) {
          const path = join(bench.env.runRoot, left);
          expect(existsSync(path) ? readdirSync(path) : [], `left in ${left}`).toEqual([]);
        }
      });

      afterAll(() => {
        if (bench) rmSync(bench.folder, { recursive: true, force: true });
        removeCgroups(cgroupParent);
      });

      suite(() => bench as Bench);
    });
  }
}

/** The parent that the runtime made on the way and does not take away; fails when a container's own is still in it. */
function removeCgroups(parent: string): void {
  const mount = '/sys/fs/cgroup';
  for (const folder of [join(mount, parent), ...readdirSync(mount).map((name) => join(mount, name, parent))]) {
    if (existsSync(folder)) rmdirSync(folder);
  }
}

async function openBench(
  manifest: DriverManifest<'runtime'>,
  options: Record<string, string>,
  cgroupParent: string,
  tasks: Task[],
): Promise<Bench> {
  const folder = mkdtempSync('/tmp/gantry-task-');
  const rootfs = join(folder, 'rootfs');
  mkdirSync(rootfs);
  busyboxRootfs(rootfs);
  const quiet = (): void => undefined;
  const log = { debug: quiet, info: quiet, warn: quiet, error: quiet };
  const env: DriverEnv = { root: join(folder, 'root'), runRoot: join(folder, 'run'), instance: 'test', options, host, log };
  mkdirSync(env.runRoot);
  expect(await manifest.probe(env)).toEqual({ ok: true });
  const driver = await manifest.open(env);
  const stateDir = (id: string): string => join(folder, 'containers', id);
  const bundle = (id: string): string => join(folder, 'bundles', id);

  const create = async (args: readonly string[], more: CreateOptions = {}): Promise<Task> => {
    const { bundleOptions, ...rest } = more;
    const id = rest.id ?? newId();
    const terminal = rest.terminal ?? false;
    writeBundle(bundle(id), { args, rootfs, cgroup: `/${cgroupParent}/${id}`, terminal, ...bundleOptions });
    mkdirSync(stateDir(id), { recursive: true });
    const task = await driver.create({
      id,
      bundle: bundle(id),
      stateDir: stateDir(id),
      terminal,
      openStdin: false,
      stdinOnce: false,
      log: { kind: 'none' },
      ...rest,
    });
    tasks.push(task);
    return task;
  };

  return {
    name: manifest.name,
    folder,
    env,
    driver,
    create,
    run: async (args, more) => {
      const task = await create(args, more);
      const output = collect(await task.attach(OUTPUT_ONLY));
      await task.start();
      const exit = await task.wait();
      await output.ended;
      return { task, exit, output };
    },
    stateDir,
    bundle,
    runFolder: (id) => join(env.runRoot, 'tasks', id),
    reopen: () => manifest.open(env),
  };
}
