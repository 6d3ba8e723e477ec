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

/** What the addon may write past the size of its input. */
const SLACK = 16;

export const logs: HostLogs = {
  pack(bytes, start, { framed, timestamps, stdout, stderr, since, until }) {
    const to = Buffer.allocUnsafeSlow(bytes.length - start + SLACK);
    const { taken, written, last, past } = calls.packLog(bytes, start, to, framed, timestamps, stdout, stderr, since, until);
    return { taken, run: to.subarray(0, written), last, past };
  },
};
