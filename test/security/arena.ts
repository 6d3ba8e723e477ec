import { spawnSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createHash } from 'node:crypto';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Json, dockerSpec, makeRootfs } from '../conformance/runtime-bundle.js';

/** A machine that is so many times slower says so. */
export const slow = Number(process.env['GANTRY_SLOW'] ?? 1);

export interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

export const object = (value: unknown): Json => value as Json;
export const list = (value: unknown): Json[] => value as Json[];

/** Blocks: what is waited for happens in other processes. */
export const pause = (milliseconds: number): void => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);

/** Blocks until the condition holds; throws after a minute, and more on a slower machine. */
export function until(holds: () => boolean): void {
  const end = Date.now() + 60_000 * slow;
  for (; !holds(); pause(5)) if (Date.now() > end) throw new Error(`not within a minute: ${holds}`);
}

/** Of the naive build, since only attacks need it. */
const intruder = fileURLToPath(new URL('../../native/build/naive/bin/intruder', import.meta.url));

/**
 * One runtime against one hostile container. The runtime's programs are copies, so that an attack that gets through to them harms nothing;
 * `victim` is a folder of the host that no container has any business with.
 */
export class Arena {
  readonly folder: string;
  readonly rootfs: string;
  readonly victim: string;
  readonly program: string;
  private readonly cgroup: string;

  constructor(runtime: string) {
    this.folder = mkdtempSync('/var/tmp/gantry-attack-');
    this.cgroup = this.folder.slice(this.folder.lastIndexOf('/') + 1);
    this.rootfs = join(this.folder, 'rootfs');
    this.victim = join(this.folder, 'victim');
    mkdirSync(join(this.victim, 'inner'), { recursive: true });
    writeFileSync(join(this.victim, 'file'), 'the host’s\n');
    makeRootfs(this.rootfs);
    mkdirSync(join(this.folder, 'bin'));
    this.program = join(this.folder, 'bin/gantry-runtime');
    for (const name of ['gantry-runtime', 'gantry-seccomp']) copyFileSync(join(dirname(runtime), name), join(this.folder, 'bin', name));
  }

  /** Writes config.json: Docker's default for `args`, changed by `change`. */
  configure(args: readonly string[], change?: (spec: Json) => unknown): void {
    const spec = dockerSpec(args, `/${this.cgroup}/c`);
    change?.(spec);
    writeFileSync(join(this.folder, 'config.json'), JSON.stringify(spec));
  }

  /** Puts native/test/intruder.cc at /intruder. */
  addIntruder(): void {
    copyFileSync(intruder, join(this.rootfs, 'intruder'));
  }

  call(...words: readonly string[]): Ended {
    return this.callWith({}, ...words);
  }

  /** With variables in the runtime's own environment. */
  callWith(env: NodeJS.ProcessEnv, ...words: readonly string[]): Ended {
    const all = ['--root', join(this.folder, 'state'), ...words];
    const done = spawnSync(this.program, all, { encoding: 'utf8', input: '', env: { ...process.env, ...env }, timeout: 60_000 * slow });
    return { code: done.status, out: done.stdout, err: done.stderr };
  }

  run(args: readonly string[], change?: (spec: Json) => unknown): Ended {
    this.configure(args, change);
    const ended = this.call('run', '--bundle', this.folder, 'c');
    this.call('delete', '--force', 'c');
    return ended;
  }

  /** A container that goes on after the call; its first process's number on the host. Nothing when it was refused. */
  start(args: readonly string[], change?: (spec: Json) => unknown): number | undefined {
    this.configure(args, change);
    const words = [
      '--root',
      join(this.folder, 'state'),
      'run',
      '--detach',
      '--bundle',
      this.folder,
      '--pid-file',
      join(this.folder, 'pid'),
      'c',
    ];
    // No pipe of ours goes into a container that outlives the call.
    if (spawnSync(this.program, words, { stdio: 'ignore', timeout: 60_000 * slow }).status !== 0) return undefined;
    return Number(readFileSync(join(this.folder, 'pid'), 'utf8'));
  }

  /** What of the host's an attack could have changed: names, kinds, owners, modes and contents below `victim`. */
  victimState(): string {
    const lines: string[] = [];
    const visit = (path: string): void => {
      const { mode, uid, gid } = lstatSync(path);
      const content = lstatSync(path).isFile() ? readFileSync(path, 'utf8') : '';
      lines.push([path.slice(this.victim.length), mode.toString(8), uid, gid, content].join(' '));
      if (lstatSync(path).isDirectory()) for (const name of readdirSync(path).sort()) visit(join(path, name));
    };
    visit(this.victim);
    return lines.join('\n');
  }

  programHash(): string {
    return createHash('sha256').update(readFileSync(this.program)).digest('hex');
  }

  close(): void {
    this.call('delete', '--force', 'c');
    for (const line of readFileSync('/proc/self/mountinfo', 'utf8').split('\n').toReversed()) {
      const target = line.split(' ')[4] ?? '';
      if (target.startsWith(this.folder)) spawnSync('umount', ['-l', target]);
    }
    spawnSync('find', ['/sys/fs/cgroup', '-depth', '-type', 'd', '-path', `*/${this.cgroup}*`, '-exec', 'rmdir', '{}', '+']);
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Where a process's descriptors lead, by number. */
export function descriptors(pid: number | string): Map<string, string> {
  const all = new Map<string, string>();
  for (const fd of readdirSync(`/proc/${pid}/fd`)) {
    const path = `/proc/${pid}/fd/${fd}`;
    if (existsSync(`/proc/${pid}`)) all.set(fd, readlinkSync(path));
  }
  return all;
}
