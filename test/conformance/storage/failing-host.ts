import type { Host } from '@gantry/core/contracts/host.js';

type Call = (...args: never[]) => unknown;

/** A host whose nth call of a kind that may take long fails with EIO, before or instead of doing anything. */
export class FailingHost {
  readonly host: Host;
  private left = 0;
  private failed = false;

  constructor(real: Host) {
    const wrapped = <T extends object>(part: T): T =>
      Object.fromEntries(
        Object.entries(part).map(([name, value]) => [
          name,
          typeof value === 'function' ? this.wrap(name, value as Call) : (value as unknown),
        ]),
      ) as T;
    this.host = { ...real, files: wrapped(real.files), projects: wrapped(real.projects), subvolumes: wrapped(real.subvolumes) };
  }

  /** Counts from the next call on. */
  failAt(call: number): void {
    this.left = call;
    this.failed = false;
  }

  /** Ends it; whether a call was failed. */
  stop(): boolean {
    this.left = 0;
    return this.failed;
  }

  private wrap(name: string, call: Call): Call {
    return (...args) => {
      if (this.left > 0 && name !== 'mountsBelow' && --this.left === 0) {
        this.failed = true;
        return Promise.reject(Object.assign(new Error(`${name} failed on purpose`), { code: 'EIO', syscall: name }));
      }
      return call(...args);
    };
  }
}
