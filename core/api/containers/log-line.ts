import type { LogEntry } from '../../contracts/log.js';
import { frameHead } from '../client-socket.js';
import { logTime } from '../times.js';

/** One entry of a container's log as a client gets it: timestamp, then details, then the line; framed unless it came from a terminal. */
export function logLine(entry: LogEntry, options: { timestamps: boolean; details: boolean; framed: boolean }): Buffer {
  const before = (options.timestamps ? `${logTime(entry.time)} ` : '') + (options.details ? `${detailsText(entry.attrs)} ` : '');
  const line = before === '' ? entry.line : Buffer.concat([Buffer.from(before), entry.line]);
  return options.framed ? Buffer.concat([frameHead(entry.stream, line.length), line]) : line;
}

function detailsText(attrs: Readonly<Record<string, string>>): string {
  return Object.keys(attrs)
    .toSorted()
    .map((key) => `${encodeURIComponent(key)}=${encodeURIComponent(attrs[key] ?? '')}`)
    .join(',');
}
