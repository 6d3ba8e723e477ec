import type { TaskStream } from '@gantry/core/contracts/runtime.js';
import type { ShimConnection } from './shim-connection.js';
import { Frame, MAX_STDIN } from './shim-protocol.js';

/** A process' stream over a connection of its own, which is all the buffer there is: the kernel's and one chunk. */
export class ShimStream implements TaskStream {
  readonly ended: Promise<void>;
  private readonly end: () => void;
  private readonly lose: (error: Error) => void;
  private detached = false;

  constructor(private readonly connection: ShimConnection) {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.ended = promise;
    this.end = resolve;
    this.lose = reject;
    // Not everybody who streams asks how it ended.
    promise.catch(() => undefined);
    void connection.closed.then(() => {
      if (this.detached) this.end();
      else this.lose(new Error('the stream was lost: the reader stood still, or the shim ended'));
    });
  }

  onOutput(listener: (stream: 'stdout' | 'stderr', chunk: Buffer) => void | Promise<void>): void {
    this.connection.listen({
      output: listener,
      end: () => {
        this.end();
        this.connection.close();
      },
    });
  }

  async write(chunk: Buffer): Promise<void> {
    for (let at = 0; at < chunk.length; at += MAX_STDIN) {
      await this.connection.send(Frame.stdin, chunk.subarray(at, at + MAX_STDIN));
    }
  }

  closeStdin(): void {
    void this.connection.send(Frame.closeStdin);
  }

  detach(): void {
    this.detached = true;
    this.connection.close();
  }
}
