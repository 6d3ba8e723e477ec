import { AsyncLocalStorage } from 'node:async_hooks';
import { randomFillSync } from 'node:crypto';
import { closeSync, fsyncSync, openSync, renameSync, rmSync, statfsSync, statSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { messageOf } from '../contracts/errors.js';
import type { Logger } from '../contracts/manifest.js';

/** Bytes: what the records of some thousand removals need. */
const SIZE = 8 << 20;
/** A disk with fewer free bytes is full: not only records need room, but also folders, mounts and logs on the way. */
const LITTLE = 1 << 20;
/** Milliseconds between tries to have it again. */
const INTERVAL = 30_000;

/**
 * Disk space kept for a day without any. Records are written also when something is removed, stopped or pruned, and on a full disk that
 * could not be done: then this file is given up, once, for operations that free space and for a start of the daemon. It is made again
 * when there is room.
 */
export class Reserve {
  private readonly freeing = new AsyncLocalStorage<boolean>();
  private starting = true;
  private timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly path: string,
    private readonly log: Logger,
  ) {}

  /** At a daemon's start. */
  open(): void {
    if (this.isFull()) this.giveUp();
    else this.refill();
  }

  /** Makes the file when it is not there and the disk has room. Some milliseconds. */
  refill(): void {
    if (statSync(this.path, { throwIfNoEntry: false })?.size === SIZE) return;
    const fresh = `${this.path}.new`;
    try {
      const file = openSync(fresh, 'w', 0o600);
      try {
        // Bytes that no file system stores in less space.
        const block = randomFillSync(Buffer.alloc(1 << 20));
        for (let written = 0; written < SIZE; written += block.length) writeSync(file, block);
        fsyncSync(file);
      } finally {
        closeSync(file);
      }
      renameSync(fresh, this.path);
      clearInterval(this.timer);
      this.timer = undefined;
    } catch (error) {
      rmSync(fresh, { force: true });
      this.log.warn('no space could be kept in reserve', { error: messageOf(error) });
    }
  }

  /** The daemon's start is over: from now on the reserve is for what frees space alone. */
  started(): void {
    this.starting = false;
  }

  /** Runs what frees space, with all that follows from it. */
  whileFreeing<T>(work: () => T): T {
    return this.freeing.run(true, () => {
      if (this.isFull()) this.giveUp();
      return work();
    });
  }

  close(): void {
    clearInterval(this.timer);
  }

  /** Called by who finds the disk full: true when there is room now, and it may be tried again. */
  giveUp(): boolean {
    if (!this.starting && this.freeing.getStore() !== true) return false;
    if (statSync(this.path, { throwIfNoEntry: false }) === undefined) return false;
    rmSync(this.path, { force: true });
    this.log.warn('the disk is full: the space in reserve was given up so that things can be removed', { path: this.path });
    this.timer ??= setInterval(() => this.refill(), INTERVAL).unref();
    return true;
  }

  private isFull(): boolean {
    const { bavail, bsize } = statfsSync(dirname(this.path));
    return bavail * bsize < LITTLE;
  }
}
