import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { HostDevices } from '@gantry/core/contracts/host-devices.js';
import { isErrno } from '../backing.js';

/** How often a device that somebody looks into is tried again, and the milliseconds in between. */
const TRIES = 50;
const PAUSE = 20;

/** Thin devices of a pool as block devices that can be mounted: active while somebody needs them. */
export class ThinDevices {
  private readonly users = new Map<string, number>();
  private readonly tails = new Map<string, Promise<unknown>>();

  constructor(
    private readonly dm: HostDevices,
    private readonly prefix: string,
    /** For nodes, on tmpfs. */
    private readonly nodes: string,
    private readonly deferred: boolean,
  ) {}

  /** What an earlier daemon left active goes, now or when nobody has it open any more. */
  async open(keep: readonly string[]): Promise<void> {
    await mkdir(this.nodes, { recursive: true, mode: 0o700 });
    const kept = new Set(keep.map((name) => `${this.prefix}${name}`));
    for (const name of await this.dm.list(this.prefix)) {
      if (kept.has(name)) continue;
      await this.dm.remove(name, { deferred: this.deferred }).catch((error: unknown) => {
        if (!isErrno(error, 'EBUSY')) throw error;
      });
    }
  }

  nameOf(name: string): string {
    return `${this.prefix}${name}`;
  }

  /** Path of a node; ends with as many calls of {@link drop}. */
  use(name: string, pool: string, number: number, sectors: number): Promise<string> {
    return this.alone(name, async () => {
      const full = `${this.prefix}${name}`;
      const node = join(this.nodes, name);
      let info = await this.dm.info(full);
      if (info?.removalDeferred) {
        // It may go in this very moment.
        await this.dm.cancelRemoval(full).catch(() => undefined);
        info = await this.dm.info(full);
      }
      info ??= await this.dm.create(full, '', [{ type: 'thin', start: 0, length: sectors, params: `${pool} ${number}` }]);
      await this.dm.makeNode(node, info.major, info.minor);
      this.users.set(name, (this.users.get(name) ?? 0) + 1);
      return node;
    });
  }

  drop(name: string): Promise<void> {
    return this.alone(name, async () => {
      const left = (this.users.get(name) ?? 0) - 1;
      if (left > 0) {
        this.users.set(name, left);
        return;
      }
      this.users.delete(name);
      await this.deactivate(name);
    });
  }

  /** Nobody uses it, says the caller. */
  end(name: string): Promise<void> {
    return this.alone(name, () => this.deactivate(name));
  }

  /** Runs `work` while what is written to the device, should it be active, waits. */
  async atRest<T>(name: string, work: () => Promise<T>): Promise<T> {
    const full = `${this.prefix}${name}`;
    if (!(await this.dm.info(full))) return work();
    await this.dm.suspend(full);
    try {
      return await work();
    } finally {
      await this.dm.resume(full);
    }
  }

  private async deactivate(name: string): Promise<void> {
    await rm(join(this.nodes, name), { force: true });
    for (let left = TRIES; ; left--) {
      try {
        return await this.dm.remove(`${this.prefix}${name}`, { deferred: this.deferred });
      } catch (error) {
        // Whatever looks into every new device lets go of it soon.
        if (!isErrno(error, 'EBUSY') || left === 0) throw error;
      }
      await sleep(PAUSE);
    }
  }

  private async alone<T>(name: string, work: () => Promise<T>): Promise<T> {
    const mine = (this.tails.get(name) ?? Promise.resolve()).then(work);
    const tail = mine.catch(() => undefined);
    this.tails.set(name, tail);
    try {
      return await mine;
    } finally {
      if (this.tails.get(name) === tail) this.tails.delete(name);
    }
  }
}
