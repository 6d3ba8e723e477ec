import { spawn } from 'node:child_process';
import { accessSync, constants, closeSync, mkdirSync, openSync } from 'node:fs';
import { createConnection } from 'node:net';
import { fileURLToPath } from 'node:url';
import type { ConnectionError } from './connection.js';
import type { Endpoint } from './endpoint.js';

const patience = 30_000;
const pollEvery = 50;
const logFolder = '/var/log/gantry';

/**
 * Starts an engine where nobody answers and nobody said where one should be.
 *
 * @returns whether one answers now; false when starting it is not for us to do
 * @throws Error when it had to be started and could not
 */
export const startEngine = async (failure: ConnectionError, endpoint: Endpoint): Promise<boolean> => {
  if (!endpoint.isDefault || !('path' in endpoint.address) || !['ENOENT', 'ECONNREFUSED'].includes(failure.code)) return false;
  const { path } = endpoint.address;
  if (process.getuid?.() !== 0) {
    throw new Error(
      `no engine answers at ${endpoint.url} and only root can start one: run gantryd as root, or name an engine with --host or GANTRY_HOST`,
    );
  }
  const program = enginePath();
  mkdirSync(logFolder, { recursive: true, mode: 0o750 });
  const logFile = `${logFolder}/gantryd.log`;
  const log = openSync(logFile, 'a', 0o640);
  if (process.stderr.isTTY) process.stderr.write('gantry: no engine is running: starting gantryd\n');
  // Its own session and no tie to our terminal: it must outlive this command, whatever ends it.
  const child = spawn(program, [], { detached: true, stdio: ['ignore', log, log], cwd: '/' });
  closeSync(log);
  let ended: string | undefined;
  child.once('error', (error) => (ended = error.message));
  child.once('exit', (code, signal) => (ended = signal ? `signal ${signal}` : `exit code ${code}`));
  child.unref();
  const deadline = performance.now() + patience;
  for (;;) {
    if (await answers(path)) return true;
    if (ended !== undefined) {
      // Another command may have started an engine at the same moment; then ours ends and that one serves.
      if (await answersSoon(path, 2_000)) return true;
      throw new Error(`gantryd did not start (${ended}): see ${logFile}`);
    }
    if (performance.now() > deadline)
      throw new Error(`gantryd does not answer at ${endpoint.url} after ${patience / 1000} seconds: see ${logFile}`);
    await pause(pollEvery);
  }
};

/** The daemon beside this program: this file is compiled, a source, or a part of the bundle. */
export const enginePath = (): string => {
  const candidates = ['../../bin/gantryd', '../bin/gantryd', '../../../bin/gantryd'].map((path) =>
    fileURLToPath(new URL(path, import.meta.url)),
  );
  for (const path of candidates) {
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // The next place may have it.
    }
  }
  throw new Error(`gantryd is not where this program is (${candidates.join(', ')})`);
};

const answersSoon = async (path: string, within: number): Promise<boolean> => {
  const deadline = performance.now() + within;
  while (performance.now() < deadline) {
    if (await answers(path)) return true;
    await pause(pollEvery);
  }
  return false;
};

/** A socket that accepts is not enough: the engine listens before it has its state together. */
const answers = async (path: string): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = createConnection({ path });
    let text = '';
    const done = (good: boolean): void => {
      socket.destroy();
      resolve(good);
    };
    socket.setTimeout(2_000, () => done(false));
    socket.once('error', () => done(false));
    socket.once('close', () => done(false));
    socket.on('data', (data) => {
      text += data.toString('latin1');
      if (text.includes('\r\n')) done(text.startsWith('HTTP/1.1 200'));
    });
    socket.write('HEAD /_ping HTTP/1.1\r\nHost: gantry\r\nConnection: close\r\n\r\n');
  });

const pause = async (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));
