import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { LogContainer, LogDriver, LogEntry, LogTarget, ReadLogs } from '@gantry/core/contracts/log.js';
import { listLogFiles } from './log-files.js';
import { attributes, parseOptions } from './options.js';
import { readLog } from './reader.js';

type Options = Readonly<Record<string, string>>;

/** Docker's json-file: the shim writes and rotates, this reads. */
export class JsonFileDriver implements LogDriver {
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

  async remove(container: LogContainer): Promise<void> {
    const path = this.path(container);
    for (const file of await listLogFiles(path)) await rm(file.path, { force: true });
    // Of a compression that was killed.
    await rm(`${path}.1.gz.tmp`, { force: true });
  }

  async close(): Promise<void> {}
}
