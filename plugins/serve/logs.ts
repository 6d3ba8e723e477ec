import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { invalid } from '@gantry/core/contracts/errors.js';
import type { LogContainer, LogDriver } from '@gantry/core/contracts/log.js';
import type { DriverEnv } from '@gantry/core/contracts/manifest.js';
import type { LogEntry } from '../sdk/server/log-entry.js';
import type { LogInfo, LogPlugin, LogSink, ReadRequest } from '../sdk/server/log.js';
import { JsonLog } from './json-log.js';

/** Nothing is kept of an entry. */
const nowhere: LogSink = { write: () => undefined, close: () => undefined };

/** Hex digits: it becomes a folder's name. */
const CONTAINER = /^[0-9a-f]{64}$/;

/** An in-tree log driver behind the plugin protocol. What the shim does for the engine's own, this does: it writes where the driver says. */
export class ServedLogs implements LogPlugin {
  readonly stateFile: string;
  /** Without it the engine keeps a copy to read back, as for any driver that cannot be read. */
  readonly read?: NonNullable<LogPlugin['read']>;

  constructor(
    private readonly driver: LogDriver,
    private readonly env: DriverEnv,
    readable: boolean,
  ) {
    this.stateFile = join(env.root, 'streams.json');
    if (readable) this.read = (info, request, signal) => this.entries(info, request, signal);
  }

  async open(info: LogInfo): Promise<LogSink> {
    const options = info.Config ?? {};
    this.driver.validate(options);
    const container = this.container(info);
    await mkdir(container.directory, { recursive: true, mode: 0o700 });
    const target = await this.driver.target(container, options);
    return target.kind === 'none' ? nowhere : JsonLog.open(target);
  }

  private async *entries(info: LogInfo, request: ReadRequest, signal: AbortSignal): AsyncIterable<LogEntry> {
    const container = this.container(info);
    for await (const { stream, time, line } of this.driver.read(container, info.Config ?? {}, {
      stdout: true,
      stderr: true,
      ...request,
      signal,
    })) {
      const whole = line.at(-1) === 0x0a;
      yield { source: stream, time, line: whole ? line.subarray(0, -1) : line, partial: !whole };
    }
  }

  private container(info: LogInfo): LogContainer {
    const { ContainerID: id } = info;
    if (!CONTAINER.test(id)) throw invalid(`${JSON.stringify(id.slice(0, 80))} is no id of a container`);
    return {
      id,
      name: (info.ContainerName ?? '').replace(/^\//, ''),
      imageId: info.ContainerImageID ?? '',
      imageName: info.ContainerImageName ?? '',
      labels: info.ContainerLabels ?? {},
      env: info.ContainerEnv ?? [],
      ...(info.ContainerEntrypoint && { entrypoint: info.ContainerEntrypoint }),
      ...(info.ContainerArgs && { args: info.ContainerArgs }),
      ...(info.ContainerCreated && { created: info.ContainerCreated }),
      directory: join(this.env.root, id),
    };
  }
}
