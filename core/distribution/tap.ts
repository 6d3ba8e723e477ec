import type { Host } from '../contracts/host.js';

/**
 * Where one reader gets the bytes of a transfer while they arrive. Each attempt of the transfer opens a pipe, filled at its
 * reader's pace; what nobody takes is closed when the attempt ends.
 */
export class Tap {
  private readonly opened = Promise.withResolvers<void>();
  private readEnd: number | undefined;
  private taken = false;

  constructor(private readonly host: Host) {}

  /** For an attempt that begins: the writing end, which is the caller's. Nothing when there is a reader already, of an earlier attempt. */
  open(): number | undefined {
    if (this.taken) return undefined;
    const [readEnd, writeEnd] = this.host.process.pipe();
    this.readEnd = readEnd;
    this.opened.resolve();
    return writeEnd;
  }

  /** The attempt is over. A reader goes on with what was put in the pipe. */
  close(): void {
    if (this.readEnd !== undefined) this.host.process.closeFd(this.readEnd);
    this.readEnd = undefined;
  }

  /** No attempt will come any more. */
  end(): void {
    this.opened.resolve();
  }

  /** The reading end, at the blob's first byte, once an attempt has begun; the caller closes it. Nothing when another has it or the transfer is over. */
  async take(): Promise<number | undefined> {
    await this.opened.promise;
    const fd = this.readEnd;
    this.readEnd = undefined;
    if (fd !== undefined) this.taken = true;
    return fd;
  }
}
