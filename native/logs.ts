import type { HostLogs } from '@gantry/core/contracts/host-logs.js';
import { addon } from './addon.js';

/** The addon's own signature: positions instead of names, in the order of binding/logs.cc. */
interface LogCalls {
  packLog(
    from: Buffer,
    start: number,
    to: Buffer,
    framed: boolean,
    timestamps: boolean,
    stdout: boolean,
    stderr: boolean,
    since: bigint | undefined,
    until: bigint | undefined,
  ): { taken: number; written: number; last: bigint; past: boolean };
}

const calls = addon() as unknown as LogCalls;

export const logs: HostLogs = {
  /** kLogSlack of gantry/json_log.h; the addon checks the room it is given. */
  slack: 16,
  pack: (bytes, start, to, { framed, timestamps, stdout, stderr, since, until }) =>
    calls.packLog(bytes, start, to, framed, timestamps, stdout, stderr, since, until),
};
