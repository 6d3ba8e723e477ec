import { watch, type FSWatcher } from 'node:fs';
import { stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { ReadLogs } from '@gantry/core/contracts/log.js';

/** Notifications can be lost (their queue overflows, some file systems have none), so it is also looked at this often. */
const POLL_MS = 1000;
const POLL_WITHOUT_NOTICE_MS = 200;

/** What a follower waits for: writes and rotations, the end of the container, its own client's leaving. */
export class Changes {
  ended = false;
  private seen = false;
  private wake: (() => void) | undefined;
  private watcher: FSWatcher | undefined;
  private readonly onAbort = (): void => this.notice();

  constructor(
    private readonly path: string,
    private readonly request: ReadLogs,
  ) {
    try {
      // The folder, not the file: a rotation puts another file in its place.
      this.watcher = watch(dirname(path), { persistent: false }, () => this.notice());
      this.watcher.on('error', () => {
        this.watcher?.close();
        this.watcher = undefined;
      });
    } catch {
      // Out of watches: polling does it.
      this.watcher = undefined;
    }
    const finish = (): void => {
      this.ended = true;
      this.notice();
    };
    void request.ended?.then(finish, finish);
    request.signal?.addEventListener('abort', this.onAbort);
  }

  get aborted(): boolean {
    return this.request.signal?.aborted ?? false;
  }

  /** Of the live file now; 0 when there is none. */
  async inode(): Promise<number> {
    try {
      return (await stat(this.path)).ino;
    } catch {
      return 0;
    }
  }

  /** Resolves when something happened since the last call, or may have. */
  async next(): Promise<void> {
    if (!this.seen && !this.aborted) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, this.watcher ? POLL_MS : POLL_WITHOUT_NOTICE_MS);
        this.wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      this.wake = undefined;
    }
    this.seen = false;
  }

  close(): void {
    this.watcher?.close();
    this.request.signal?.removeEventListener('abort', this.onAbort);
    this.wake?.();
  }

  private notice(): void {
    this.seen = true;
    this.wake?.();
  }
}
