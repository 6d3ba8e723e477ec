import { existsSync } from 'node:fs';
import { open, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { HostProcess } from '@gantry/core/contracts/host-process.js';
import type { Exit } from '@gantry/core/contracts/runtime.js';

/** What a shim says of itself and of the first process in its run folder, to be compared with the kernel. */
export interface TaskFile {
  readonly boot: string;
  readonly shim: number;
  readonly shimStart: number;
  /** 0 while the runtime is still making it. */
  readonly pid: number;
  readonly start: number;
}

const numbers = (value: Record<string, unknown>, ...keys: string[]): boolean =>
  keys.every((key) => Number.isSafeInteger(value[key]) && (value[key] as number) >= 0);

async function readRecord(path: string): Promise<Record<string, unknown> | undefined> {
  try {
    return parseRecord(await readFile(path, 'utf8'));
  } catch {
    return undefined;
  }
}

function parseRecord(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    // Absent and torn are one: the file says nothing.
    return undefined;
  }
}

export async function readTaskFile(runFolder: string): Promise<TaskFile | undefined> {
  return asTaskFile(await readRecord(join(runFolder, 'task.json')));
}

/** What a shim says of itself in its answer, as it has it in the file. */
export function parseTaskFile(text: string): TaskFile | undefined {
  return asTaskFile(parseRecord(text));
}

function asTaskFile(value: Record<string, unknown> | undefined): TaskFile | undefined {
  if (!value || value['version'] !== 1 || typeof value['boot'] !== 'string') return undefined;
  if (!numbers(value, 'shim', 'shimStart', 'pid', 'start')) return undefined;
  return value as unknown as TaskFile;
}

/** The exit that the shim has put on disk; in the run folder when the disk took nothing. */
export async function readExitFile(stateDir: string, runFolder: string): Promise<Exit | undefined> {
  for (const folder of [stateDir, runFolder]) {
    const value = await readRecord(join(folder, 'exit.json'));
    if (!value || value['version'] !== 1 || !numbers(value, 'code', 'at') || typeof value['oomKilled'] !== 'boolean') continue;
    return { code: value['code'] as number, at: value['at'] as number, oomKilled: value['oomKilled'] };
  }
  return undefined;
}

/** Of an earlier run. Gone for good before the next one begins, whose end it must not be taken for. */
export async function removeExitFile(stateDir: string): Promise<void> {
  const path = join(stateDir, 'exit.json');
  if (!existsSync(path)) return;
  await rm(path, { force: true });
  const folder = await open(stateDir);
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

let boot: Promise<string> | undefined;
export const bootId = (): Promise<string> => (boot ??= readFile('/proc/sys/kernel/random/boot_id', 'utf8').then((text) => text.trim()));

/** Whether the process of this pid is still the one that was meant, and not a zombie that nobody has reaped. */
export const isAlive = (host: HostProcess, pid: number, start: number): boolean => pid > 0 && host.startTime(pid) === start;
