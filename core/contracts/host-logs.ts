import type { LogForm } from './log.js';

/** Which records of a log are wanted, and how they are written out. */
export interface LogSelection extends LogForm {
  readonly stdout: boolean;
  readonly stderr: boolean;
  /** Nanoseconds since 1970, inclusive. */
  readonly since?: bigint;
  readonly until?: bigint;
}

export interface PackedLog {
  /** Bytes of records that were read. Behind them stands a record that has not ended or has an unusual shape; or, with `past`, one after `until`. */
  readonly taken: number;
  /** Bytes written. */
  readonly written: number;
  /** Time of the last record in nanoseconds since 1970; 0 when there was none. */
  readonly last: bigint;
  readonly past: boolean;
}

/** Log records at the speed of memory. */
export interface HostLogs {
  /** What `pack` may write past the size of its input. */
  readonly slack: number;
  /**
   * Whole records of a json-file log in `bytes` from `start` on, written out to the begin of `to`, which has room for the
   * rest of `bytes` and the slack. Short enough for the event loop when `bytes` is.
   */
  pack(bytes: Buffer, start: number, to: Buffer, selection: LogSelection): PackedLog;
}
