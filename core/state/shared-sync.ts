import { closeSync, fdatasync, openSync } from 'node:fs';
import { promisify } from 'node:util';

const datasync = promisify(fdatasync);

/** Syncs one file for many: whoever asks while a sync runs shares the next one, since the one that runs may have missed what he wrote. */
export class SharedSync {
  private running: Promise<void> = Promise.resolve();
  private next: Promise<void> | undefined;

  constructor(
    private readonly fd: number,
    private readonly syncFile: (fd: number) => Promise<void> = datasync,
  ) {}

  /** The file exists, and is not replaced by another one while this is used. */
  static open(path: string): SharedSync {
    return new SharedSync(openSync(path, 'r+'));
  }

  /** Resolves when all that was written before the call is on disk. */
  sync(): Promise<void> {
    this.next ??= this.running
      // Its failure was told to those who waited for it.
      .catch(() => undefined)
      .then(() => {
        const begun = this.syncFile(this.fd);
        this.running = begun;
        this.next = undefined;
        return begun;
      });
    return this.next;
  }

  /** Nobody asks any more; a sync that is under way is waited for. */
  close(): void {
    void (this.next ?? this.running).catch(() => undefined).then(() => closeSync(this.fd));
  }
}
