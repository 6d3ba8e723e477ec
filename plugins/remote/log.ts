import { invalid } from '@gantry/core/contracts/errors.js';
import type { LogContainer, LogDriver, LogEntry, LogTarget, ReadLogs } from '@gantry/core/contracts/log.js';
import type { DriverEnv } from '@gantry/core/contracts/manifest.js';
import { Unreached } from '../host/client.js';
import type { Plugin } from '../host/plugin.js';
import { EntryDecoder } from '../sdk/server/log-entry.js';
import { LogForwarder } from './log-forwarder.js';
import { logInfo, readConfig } from './log-info.js';

type Options = Readonly<Record<string, string>>;

/** Options of the engine's own copy, which the plugin does not get. */
const CACHE = { size: 'cache-max-size', files: 'cache-max-file' } as const;

/**
 * A log driver in another process. The shim writes the engine's own copy, as it does without any plugin, and the daemon hands it on
 * through a FIFO: so a plugin that is slow, away or started anew neither holds a container nor loses lines that the copy still has,
 * and `logs` works with plugins that cannot be read back.
 */
export class RemoteLogDriver implements LogDriver {
  private readonly forwarders = new Map<string, LogForwarder>();

  constructor(
    private readonly plugin: Plugin,
    /** Whether the plugin says that it can be read back. */
    private readonly readable: boolean,
    /** The driver of the copy. */
    private readonly copy: LogDriver,
    private readonly env: DriverEnv,
  ) {}

  validate(options: Options): void {
    const { mode } = options;
    if (mode !== undefined && mode !== 'blocking' && mode !== 'non-blocking')
      throw invalid(`logger: invalid value for 'mode': ${mode} (blocking, non-blocking)`);
    this.copy.validate(copyOptions(options));
  }

  async target(container: LogContainer, options: Options): Promise<LogTarget> {
    // Of the run before: its end may still be on its way to the plugin.
    await this.forwarders.get(container.id)?.finish();
    this.forwarders.delete(container.id);
    await this.forwarder(container, options).begin();
    return this.copy.target(container, copyOptions(options));
  }

  running(container: LogContainer, options: Options, ended: Promise<void>): void {
    const forwarder = this.forwarder(container, options);
    forwarder.follow(ended, () => {
      if (this.forwarders.get(container.id) === forwarder) this.forwarders.delete(container.id);
    });
  }

  path(): string {
    return '';
  }

  async *read(container: LogContainer, options: Options, request: ReadLogs): AsyncIterable<LogEntry> {
    if (!this.readable) {
      yield* this.copy.read(container, copyOptions(options), request);
      return;
    }
    let stream;
    try {
      stream = await this.plugin.download(
        'LogDriver.ReadLogs',
        {
          Info: logInfo(container, pluginOptions(options), this.env.instance),
          Config: readConfig(request),
        },
        { ...(request.signal && { signal: request.signal }) },
      );
    } catch (error) {
      // The copy has what the plugin cannot be asked for now.
      if (!(error instanceof Unreached)) throw error;
      yield* this.copy.read(container, copyOptions(options), request);
      return;
    }
    void request.ended?.then(() => setTimeout(() => stream.destroy(), 1000).unref());
    const decoder = new EntryDecoder();
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      for (const { source, time, line, partial, piece } of decoder.push(chunk)) {
        if (source === 'stdout' ? !request.stdout : !request.stderr) continue;
        if ((request.since !== undefined && time < request.since) || (request.until !== undefined && time > request.until)) continue;
        const whole = !partial || piece?.last === true;
        yield { stream: source, time, line: whole ? Buffer.concat([line, Buffer.from('\n')]) : line, attrs: {} };
      }
    }
  }

  async remove(container: LogContainer): Promise<void> {
    await this.forwarders.get(container.id)?.stop();
    this.forwarders.delete(container.id);
    await this.copy.remove(container);
  }

  async close(): Promise<void> {
    for (const forwarder of this.forwarders.values()) forwarder.leave();
  }

  private forwarder(container: LogContainer, options: Options): LogForwarder {
    let forwarder = this.forwarders.get(container.id);
    if (!forwarder) {
      forwarder = new LogForwarder({
        plugin: this.plugin,
        info: logInfo(container, pluginOptions(options), this.env.instance),
        container,
        read: (request) => this.copy.read(container, copyOptions(options), request),
        env: this.env,
      });
      this.forwarders.set(container.id, forwarder);
    }
    return forwarder;
  }
}

/** As much as Docker's own copy keeps. */
const copyOptions = (options: Options): Options => ({
  'max-size': options[CACHE.size] ?? '20m',
  'max-file': options[CACHE.files] ?? '5',
});

const pluginOptions = (options: Options): Options =>
  Object.fromEntries(Object.entries(options).filter(([name]) => name !== CACHE.size && name !== CACHE.files));

/** Any error means that it can only be written to. */
export async function logReadable(plugin: Plugin): Promise<boolean> {
  try {
    return (await plugin.call('LogDriver.Capabilities', undefined)).Cap?.ReadLogs ?? false;
  } catch (error) {
    if (error instanceof Unreached) throw error;
    return false;
  }
}
