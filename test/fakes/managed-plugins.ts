import type { PluginDirectory } from '@gantry/core/contracts/plugin.js';
import type { Readable } from 'node:stream';
import { EngineError } from '@gantry/core/contracts/errors.js';
import type { ProgressSink } from '@gantry/core/image/images.js';
import type { InstallPlugin, Plugin, PluginDocuments, PluginLife, Plugins } from '@gantry/core/plugin/plugins.js';
import { unused } from './records.js';

/** No plugin is there but those that a test puts in. */
export class FakePlugins implements Plugins {
  readonly calls: [string, ...unknown[]][] = [];
  readonly plugins = new Map<string, Plugin>();

  list(filters: ReadonlyMap<string, readonly string[]>): Plugin[] {
    this.calls.push(['list', filters]);
    return [...this.plugins.values()];
  }

  inspect(name: string): Plugin {
    const found = this.plugins.get(name);
    if (!found) throw new EngineError('not-found', `plugin ${JSON.stringify(name)} not found`);
    return found;
  }

  life = (): PluginLife => ({ state: 'stopped', pid: 0, restarts: 0, lastError: '' });
  documents = (): PluginDocuments => ({ config: {}, mounts: [], devices: [] });

  async privileges(remote: string): Promise<{ name: string; description: string; value: string[] }[]> {
    this.calls.push(['privileges', remote]);
    return [{ name: 'network', description: 'permissions to access a network', value: ['host'] }];
  }

  pulledName = ({ remote, name }: Pick<InstallPlugin, 'remote' | 'name'>): string => name || remote;

  async pull(request: InstallPlugin, progress: ProgressSink): Promise<void> {
    this.calls.push(['pull', request]);
    progress({ status: 'done' });
  }

  async create(name: string, archive: Readable): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of archive as AsyncIterable<Buffer>) chunks.push(chunk);
    this.calls.push(['create', name, Buffer.concat(chunks).toString()]);
  }

  async enable(name: string, options: { timeout: number }): Promise<void> {
    this.calls.push(['enable', name, options]);
  }

  async disable(name: string, options: { force: boolean }): Promise<void> {
    this.calls.push(['disable', name, options]);
  }

  async set(name: string, changes: readonly string[]): Promise<void> {
    this.calls.push(['set', name, changes]);
  }

  upgrade = unused;
  push = unused;
  logs = unused;

  async remove(name: string): Promise<Plugin> {
    return this.inspect(name);
  }
}

/** No plugin was ever met. */
export const noPlugins: PluginDirectory = { list: () => [], status: () => undefined, trace: () => () => undefined };
