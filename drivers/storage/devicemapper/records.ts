import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { PoolFileSystem } from './settings.js';

/** One thin device of the pool. */
export interface ThinRecord {
  /** Its number in the pool. */
  readonly device: number;
  readonly parent: string;
  readonly writable: boolean;
  readonly sectors: number;
  readonly fileSystem: PoolFileSystem;
  /** Of the pool, after it was made: a pool that is behind it has lost it in a power cut. */
  readonly transaction: number;
}

type State = 'making' | 'ready' | 'removing';

/** The first thin device, which has an empty file system; every snapshot without parent is a snapshot of it. */
export const BASE = 'base';

/**
 * What is known of the pool's devices: a file for each, whose name says how far it is. `NAME.making` is written before the pool is asked
 * for the device, becomes `NAME.ready` when the pool has it on disk, and `NAME.removing` before the pool is asked to delete it. So the
 * pool never has a device that no file names. Every step is synced.
 */
export class ThinRecords {
  private readonly known = new Map<string, ThinRecord>();
  private readonly numbers = new Set<number>();

  constructor(private readonly folder: string) {}

  /** Reads all that is ready, and gives back what was cut off. */
  async open(): Promise<{ name: string; state: State; record: ThinRecord }[]> {
    await mkdir(this.folder, { recursive: true, mode: 0o700 });
    const unfinished: { name: string; state: State; record: ThinRecord }[] = [];
    for (const file of await readdir(this.folder)) {
      const [, name, state] = /^(.+)\.(making|ready|removing)$/.exec(file) ?? [];
      if (name === undefined) {
        // Not whole: it was being written when the daemon died.
        await rm(join(this.folder, file));
        continue;
      }
      const record = JSON.parse(await readFile(join(this.folder, file), 'utf8')) as ThinRecord;
      this.numbers.add(record.device);
      if (state === 'ready') this.known.set(name, record);
      else unfinished.push({ name, state: state as State, record });
    }
    return unfinished;
  }

  get(name: string): ThinRecord | undefined {
    return this.known.get(name);
  }

  names(): string[] {
    return [...this.known.keys()];
  }

  /** The intent to make a device, with a number that no other has. */
  async begin(name: string, record: Omit<ThinRecord, 'device'>): Promise<ThinRecord> {
    let device = 1;
    while (this.numbers.has(device)) device++;
    const whole = { device, ...record };
    this.numbers.add(device);
    try {
      const path = this.path(name, 'making');
      const file = await open(`${path}.new`, 'w', 0o600);
      try {
        await file.writeFile(JSON.stringify(whole));
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(`${path}.new`, path);
      await this.sync();
    } catch (error) {
      this.numbers.delete(device);
      throw error;
    }
    return whole;
  }

  async ready(name: string, record: ThinRecord): Promise<void> {
    await this.move(name, 'making', 'ready');
    this.known.set(name, record);
  }

  async removing(name: string): Promise<void> {
    await this.move(name, 'ready', 'removing');
    this.known.delete(name);
  }

  /** The pool has the device no more. */
  async forget(name: string, state: State, { device }: ThinRecord): Promise<void> {
    await rm(this.path(name, state), { force: true });
    await this.sync();
    if (state === 'ready') this.known.delete(name);
    this.numbers.delete(device);
  }

  private async move(name: string, from: State, to: State): Promise<void> {
    await rename(this.path(name, from), this.path(name, to));
    await this.sync();
  }

  private async sync(): Promise<void> {
    const folder = await open(this.folder, 'r');
    try {
      await folder.sync();
    } finally {
      await folder.close();
    }
  }

  private readonly path = (name: string, state: State): string => join(this.folder, `${name}.${state}`);
}
