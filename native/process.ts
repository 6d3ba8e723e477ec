import { Socket } from 'node:net';
import type { Child, HostProcess, SpawnOptions } from '@gantry/core/contracts/host-process.js';
import { addon } from './addon.js';
import { CompanionProgram } from './companion.js';
import { net } from './net.js';

type Native = Omit<HostProcess, 'run' | 'companion'>;

const native = addon() as unknown as Native;

const DEFAULT_LIMIT = 1 << 20;

/** All that comes out of a pipe, up to `limit` bytes; the rest is read and dropped, so that the writer never waits. */
function collect(fd: number, limit: number): { done: Promise<Buffer>; stop: () => void } {
  const socket = new Socket({ fd, readable: true, writable: false });
  const chunks: Buffer[] = [];
  let size = 0;
  const done = new Promise<Buffer>((resolve) => {
    socket.on('data', (chunk: Buffer) => {
      if (size >= limit) return;
      const kept = chunk.subarray(0, limit - size);
      size += kept.length;
      chunks.push(kept);
    });
    socket.on('error', () => socket.destroy());
    socket.on('close', () => resolve(Buffer.concat(chunks)));
  });
  return { done, stop: () => socket.destroy() };
}

function feed(fd: number, input: Buffer): void {
  const socket = new Socket({ fd, readable: false, writable: true });
  // A program that ends without reading its input is not a failure of ours.
  socket.on('error', () => socket.destroy());
  socket.end(input, () => socket.destroy());
}

/** How long output may still come from a grandchild that holds the pipe after the program itself ended. */
const GRACE_MS = 500;

async function run(options: Parameters<HostProcess['run']>[0]): Promise<{ code: number; stdout: Buffer; stderr: Buffer }> {
  const limit = options.limit ?? DEFAULT_LIMIT;
  const opened: number[] = [];
  let child: Child;
  let ends: { stdin: number; stdout: number; stderr: number };
  try {
    const input = options.input ? native.pipe() : undefined;
    if (input) opened.push(...input);
    const out = native.pipe();
    opened.push(...out);
    const err = native.pipe();
    opened.push(...err);
    const spawn: SpawnOptions = {
      path: options.path,
      args: options.args,
      env: options.env,
      fds: [input?.[0] ?? -1, out[1], err[1]],
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    };
    child = native.spawn(spawn);
    if (input) native.closeFd(input[0]);
    native.closeFd(out[1]);
    native.closeFd(err[1]);
    ends = { stdin: input?.[1] ?? -1, stdout: out[0], stderr: err[0] };
  } catch (error) {
    for (const fd of opened) native.closeFd(fd);
    throw error;
  }

  const startedAt = native.startTime(child.pid);
  const stdout = collect(ends.stdout, limit);
  const stderr = collect(ends.stderr, limit);
  if (options.input) feed(ends.stdin, options.input);
  // Held by a timer either way: the reaper alone does not keep the process alive.
  let timedOut = false;
  const kill = (): void => {
    if (options.timeoutMs === undefined) return;
    timedOut = true;
    if (startedAt !== undefined) native.signal(child.pid, startedAt, 9);
  };
  const timer = setTimeout(kill, options.timeoutMs ?? 2 ** 31 - 1);
  let grace: NodeJS.Timeout | undefined;
  try {
    const { code } = await child.exited;
    grace = setTimeout(() => {
      stdout.stop();
      stderr.stop();
    }, GRACE_MS);
    const [outBytes, errBytes] = await Promise.all([stdout.done, stderr.done]);
    if (timedOut) {
      throw Object.assign(new Error(`${options.path} did not end within ${options.timeoutMs} ms`), {
        code: 'ETIMEDOUT',
        path: options.path,
      });
    }
    return { code, stdout: outBytes, stderr: errBytes };
  } finally {
    clearTimeout(timer);
    clearTimeout(grace);
  }
}

export const process: HostProcess = {
  companion: (options) => new CompanionProgram(net, process, options),
  spawn: (options) => native.spawn(options),
  socketPair: () => native.socketPair(),
  pipe: () => native.pipe(),
  closeFd: (fd) => native.closeFd(fd),
  startTime: (pid) => native.startTime(pid),
  signal: (pid, startTime, signal) => native.signal(pid, startTime, signal),
  notifyService: (address, state) => native.notifyService(address, state),
  run,
};
