import { unlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { HostLogs } from '@gantry/core/contracts/host-logs.js';
import type { LogContainer, LogDriver, LogEntry, LogForm, LogTarget, ReadLogs } from '@gantry/core/contracts/log.js';
import { listLogFiles } from './log-files.js';
import { attributes, parseOptions } from './options.js';
import { readLog, readLogRuns } from './reader.js';

type Options = Readonly<Record<string, string>>;

/** Docker's json-file: the shim writes and rotates, this reads. */
export class JsonFileDriver implements LogDriver {
  constructor(private readonly logs: HostLogs) {}

  validate(options: Options): void {
    parseOptions(options);
  }

  async target(container: LogContainer, options: Options): Promise<LogTarget> {
    return { kind: 'json-file', path: this.path(container), ...parseOptions(options), attrs: attributes(container, options) };
  }

  path(container: LogContainer): string {
    return join(container.directory, `${container.id}-json.log`);
  }

  read(container: LogContainer, _options: Options, request: ReadLogs): AsyncIterable<LogEntry> {
    return readLog(this.path(container), request);
  }

  readRuns(container: LogContainer, _options: Options, request: ReadLogs, form: LogForm): AsyncIterable<LogEntry | Buffer> {
    const { stdout, stderr, since, until } = request;
    const selection = { ...form, stdout, stderr, ...(since === undefined ? {} : { since }), ...(until === undefined ? {} : { until }) };
    return readLogRuns(this.path(container), request, {
      slack: this.logs.slack,
      pack: (bytes, start, to) => this.logs.pack(bytes, start, to, selection),
    });
  }

  async remove(container: LogContainer): Promise<void> {
    const path = this.path(container);
    const files = (await listLogFiles(path)).map((file) => file.path);
    // Of a compression that was killed.
    const half = `${path}.1.gz.tmp`;
    await Promise.all([...files, half].map(unlinkIfThere));
  }

  async close(): Promise<void> {}
}

async function unlinkIfThere(path: string): Promise<void> {
  try {
    await unlink(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}
