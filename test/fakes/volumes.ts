import { Readable } from 'node:stream';
import { conflict, EngineError } from '@gantry/core/contracts/errors.js';
import { newId } from '@gantry/core/contracts/ids.js';
import type { Volume, Volumes } from '@gantry/core/volume/volumes.js';
import { unused } from './records.js';

export class FakeVolumes implements Volumes {
  readonly calls: [string, ...unknown[]][] = [];
  readonly volumes = new Map<string, Volume>();

  async create(request: Parameters<Volumes['create']>[0]): Promise<Volume> {
    this.calls.push(['create', request]);
    const name = request.name || newId();
    const old = this.volumes.get(name);
    const driver = request.driver || 'local';
    if (old && old.driver !== driver) throw conflict(`volume ${name} exists with driver ${old.driver}`);
    const made: Volume = old ?? {
      name,
      driver,
      created: '2026-01-01T00:00:00Z',
      labels: request.labels,
      options: request.options,
      scope: 'local',
      mountpoint: `/volumes/${name}`,
      anonymous: request.name === '',
    };
    this.volumes.set(name, made);
    return made;
  }

  async list(filters: ReadonlyMap<string, readonly string[]>): ReturnType<Volumes['list']> {
    this.calls.push(['list', filters]);
    return { volumes: [...this.volumes.values()], warnings: [] };
  }

  async inspect(name: string): ReturnType<Volumes['inspect']> {
    const found = this.volumes.get(name);
    if (!found) throw new EngineError('not-found', `get ${name}: no such volume`);
    return found;
  }

  async remove(name: string, options: { force: boolean }): Promise<void> {
    this.calls.push(['remove', name, options]);
    this.volumes.delete(name);
  }

  async prune(...args: Parameters<Volumes['prune']>): ReturnType<Volumes['prune']> {
    this.calls.push(['prune', ...args]);
    return { deleted: ['old'], spaceReclaimed: 5 };
  }

  async usage(): ReturnType<Volumes['usage']> {
    return { size: 10, references: 1 };
  }

  reference = unused;
  dereference = unused;
  mount = unused;
  unmount = unused;
  fill = unused;
  settle = unused;

  async clone(name: string, request: Parameters<Volumes['clone']>[1]): Promise<Volume> {
    this.calls.push(['clone', name, request]);
    return this.create({ name: request.to, driver: 'local', options: {}, labels: request.labels });
  }

  async snapshot(name: string, request: Parameters<Volumes['snapshot']>[1]): Promise<Volume> {
    this.calls.push(['snapshot', name, request]);
    return this.create({ name: request.to, driver: 'local', options: {}, labels: request.labels });
  }

  async rename(name: string, to: string): Promise<Volume> {
    this.calls.push(['rename', name, to]);
    return { ...(await this.inspect(name)), name: to };
  }

  async resize(name: string, bytes: number): Promise<void> {
    this.calls.push(['resize', name, bytes]);
  }

  async exportFrom(name: string, options: { freeze: boolean }): Promise<Readable> {
    this.calls.push(['export', name, options]);
    return Readable.from([Buffer.from('archive')]);
  }

  async importInto(name: string, archive: Readable): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of archive as AsyncIterable<Buffer>) chunks.push(chunk);
    this.calls.push(['import', name, Buffer.concat(chunks).toString()]);
  }
}
