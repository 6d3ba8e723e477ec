import { spawnSync, type SpawnSyncOptions } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { busybox, dockerSpec, makeRootfs, type Json } from '../conformance/runtime-bundle.js';

export const gantryRuntime = fileURLToPath(new URL('../../native/build/bin/gantry-runtime', import.meta.url));
export const cgroupV2 = existsSync('/sys/fs/cgroup/cgroup.procs');

export type Change = (spec: Json) => unknown;

export interface Result {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

export const object = (value: unknown): Json => value as Json;
export const list = (value: unknown): Json[] => value as Json[];
export const linux = (spec: Json): Json => object(spec['linux']);
export const processOf = (spec: Json): Json => object(spec['process']);
export const resources = (spec: Json): Json => object(linux(spec)['resources']);
/** A change that adds one entry to `mounts`. */
export const withMount =
  (mount: Json): Change =>
  (spec) =>
    list(spec['mounts']).push(mount);
/** Several changes as one. */
export const all =
  (...changes: readonly Change[]): Change =>
  (spec) =>
    changes.forEach((change) => change(spec));
/** A user namespace of its own, root being 100000 on the host. */
export const withUserNamespace: Change = (spec) => {
  list(linux(spec)['namespaces']).push({ type: 'user' });
  const mapping = [{ containerID: 0, hostID: 100_000, size: 65_536 }];
  Object.assign(linux(spec), { uidMappings: mapping, gidMappings: mapping, sysctl: {} });
};

const slow = Number(process.env['GANTRY_SLOW'] ?? 1);

export function until(condition: () => boolean, what = 'it'): void {
  const end = Date.now() + 60_000 * slow;
  while (!condition()) {
    if (Date.now() > end) throw new Error(`${what} did not happen in time`);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
  }
}

/** A bundle of busybox and a state folder of its own, for one suite. */
export class OciTrial {
  readonly folder = mkdtempSync(join(tmpdir(), 'gantry-oci-'));
  readonly bundle = join(this.folder, 'bundle');
  readonly rootfs = join(this.bundle, 'rootfs');
  readonly state = join(this.folder, 'state');
  /** The parent of its containers' cgroups in every hierarchy. */
  readonly cgroupName = basename(this.folder);
  /** What is run; a copy where another user has to reach it. */
  program = gantryRuntime;

  constructor() {
    mkdirSync(this.bundle);
    makeRootfs(this.rootfs);
  }

  call(...args: string[]): Result {
    return this.spawn(args, { input: '' });
  }

  spawn(args: readonly string[], options: SpawnSyncOptions): Result {
    const done = spawnSync(this.program, ['--root', this.state, ...args], {
      timeout: 60_000 * slow,
      ...options,
      encoding: 'utf8',
    });
    return { code: done.status, out: done.stdout ?? '', err: done.stderr ?? '' };
  }

  write(args: readonly string[], change?: Change): void {
    const spec = dockerSpec(args, `/${this.cgroupName}/c`);
    change?.(spec);
    writeFileSync(join(this.bundle, 'config.json'), JSON.stringify(spec));
  }

  /** Runs a shell script in a container `c` of a changed specification. */
  run(script: string, change?: Change, ...flags: string[]): Result {
    this.write(['sh', '-c', script], change);
    return this.call('run', '--bundle', this.bundle, ...flags, 'c');
  }

  /** Creates `c` and gives the pid of its first process. */
  create(args: readonly string[], change?: Change, ...flags: string[]): number {
    this.write(args, change);
    const pidFile = join(this.folder, 'pid');
    const log = join(this.folder, 'create.log');
    rmSync(log, { force: true });
    // No pipe of ours goes into a container that outlives the call.
    const words = ['--log', log, 'create', '--bundle', this.bundle, '--pid-file', pidFile, ...flags, 'c'];
    const { code } = this.spawn(words, { stdio: 'ignore' });
    if (code !== 0) throw new Error(`create failed: ${existsSync(log) ? readFileSync(log, 'utf8') : ''}`);
    return Number(readFileSync(pidFile, 'utf8'));
  }

  /** The same, started. */
  start(args: readonly string[], change?: Change, ...flags: string[]): number {
    const pid = this.create(args, change, ...flags);
    expect(this.call('start', 'c')).toMatchObject({ code: 0, err: '' });
    return pid;
  }

  document(): Json {
    return object(JSON.parse(this.call('state', 'c').out));
  }

  /** The directory of `c` in a v1 hierarchy, or in v2's. */
  cgroup(controller: string): string {
    return cgroupV2 ? `/sys/fs/cgroup/${this.cgroupName}/c` : `/sys/fs/cgroup/${controller}/${this.cgroupName}/c`;
  }

  control(controller: string, file: string): string {
    return readFileSync(join(this.cgroup(controller), file), 'utf8').trim();
  }

  /** What a container leaves when it is not taken away whole: mounts, cgroups, records. */
  left(): string[] {
    const cgroups = (cgroupV2 ? ['.'] : readdirSync('/sys/fs/cgroup')).flatMap((hierarchy) => {
      const dir = join('/sys/fs/cgroup', hierarchy, this.cgroupName);
      if (!existsSync(dir)) return [];
      return readdirSync(dir, { withFileTypes: true }).flatMap((entry) => (entry.isDirectory() ? [join(dir, entry.name)] : []));
    });
    const mounts = readFileSync('/proc/self/mountinfo', 'utf8')
      .split('\n')
      .filter((line) => line.includes(this.folder));
    const records = existsSync(this.state) ? readdirSync(this.state).filter((entry) => !entry.startsWith('.')) : [];
    return [...mounts, ...cgroups, ...records];
  }

  /** `c` is deleted, and nothing may be left of it. */
  clear(): void {
    this.call('delete', '--force', 'c');
    expect(this.left()).toEqual([]);
  }

  close(): void {
    spawnSync('find', ['/sys/fs/cgroup', '-depth', '-type', 'd', '-name', this.cgroupName, '-exec', 'rmdir', '{}', '+']);
    rmSync(this.folder, { recursive: true, force: true });
  }
}

const missing =
  process.getuid?.() !== 0
    ? 'needs root'
    : !existsSync(busybox)
      ? 'needs /bin/busybox'
      : !existsSync(gantryRuntime)
        ? 'needs the native build'
        : undefined;

/** A suite over one trial; each test begins and ends without a container. */
export function describeOci(name: string, body: (trial: () => OciTrial) => void): void {
  if (missing) {
    describe.skip(`${name} (skipped: ${missing})`, () => it('runs', () => {}));
    return;
  }
  describe(name, () => {
    let trial: OciTrial | undefined;
    beforeAll(() => {
      trial = new OciTrial();
    });
    afterEach(() => trial?.clear());
    afterAll(() => trial?.close());
    body(() => {
      if (!trial) throw new Error('the trial is not open');
      return trial;
    });
  });
}
