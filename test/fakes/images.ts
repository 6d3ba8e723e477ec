import { Readable } from 'node:stream';
import { EngineError } from '@gantry/core/contracts/errors.js';
import type { Images, Progress, ProgressSink } from '@gantry/core/image/images.js';
import { digestOf, image, unused } from './records.js';

export class FakeImages implements Images {
  stored = [image()];
  readonly calls: [string, ...unknown[]][] = [];
  /** What a pull, push, load or import tells, and how it ends. */
  progress: Progress[] = [];
  failure: Error | undefined;
  received = Buffer.alloc(0);

  private async tell(sink: ProgressSink): Promise<void> {
    for (const line of this.progress) {
      sink(line);
      await new Promise((resolve) => setImmediate(resolve));
    }
    if (this.failure) throw this.failure;
  }

  private async take(archive: Readable): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of archive) chunks.push(chunk as Buffer);
    this.received = Buffer.concat(chunks);
  }

  async list(options: Parameters<Images['list']>[0]): ReturnType<Images['list']> {
    this.calls.push(['list', options]);
    return this.stored;
  }

  async inspect(name: string): ReturnType<Images['inspect']> {
    this.calls.push(['inspect', name]);
    return this.resolve(name);
  }

  resolve(name: string): ReturnType<Images['resolve']> {
    const found = this.find(name);
    if (!found) throw new EngineError('not-found', `No such image: ${name}`);
    return found;
  }

  find(name: string): ReturnType<Images['find']> {
    const full = /[:@]/.test(name.slice(name.lastIndexOf('/') + 1)) ? name : `${name}:latest`;
    return this.stored.find(({ id, repoTags }) => id === name || repoTags.includes(full) || repoTags.includes(name));
  }

  async pull(...[request, sink]: Parameters<Images['pull']>): Promise<void> {
    this.calls.push(['pull', request]);
    await this.tell(sink);
  }

  async push(...[request, sink]: Parameters<Images['push']>): Promise<void> {
    this.calls.push(['push', request]);
    await this.tell(sink);
  }

  async tag(...args: Parameters<Images['tag']>): Promise<void> {
    this.calls.push(['tag', ...args]);
  }

  async remove(...args: Parameters<Images['remove']>): ReturnType<Images['remove']> {
    this.calls.push(['remove', ...args]);
    return [{ untagged: 'busybox:latest' }, { deleted: digestOf('a') }];
  }

  async prune(...args: Parameters<Images['prune']>): ReturnType<Images['prune']> {
    this.calls.push(['prune', ...args]);
    return { deleted: [], spaceReclaimed: 0 };
  }

  async history(name: string): ReturnType<Images['history']> {
    this.calls.push(['history', name]);
    return [{ id: '<missing>', created: '2026-01-01T00:00:00Z', createdBy: '/bin/sh -c a && b', tags: [], size: 1, comment: '' }];
  }

  async save(...args: Parameters<Images['save']>): ReturnType<Images['save']> {
    this.calls.push(['save', ...args]);
    return Readable.from([Buffer.from('saved')]);
  }

  async load(...[archive, options, sink]: Parameters<Images['load']>): Promise<void> {
    this.calls.push(['load', options]);
    await this.take(archive);
    await this.tell(sink);
  }

  async import(...[archive, request, sink]: Parameters<Images['import']>): ReturnType<Images['import']> {
    this.calls.push(['import', request]);
    await this.take(archive);
    await this.tell(sink);
    return digestOf('a');
  }

  async distribution(...args: Parameters<Images['distribution']>): ReturnType<Images['distribution']> {
    this.calls.push(['distribution', ...args]);
    return {
      mediaType: 'application/vnd.oci.image.index.v1+json',
      digest: digestOf('a'),
      size: 12,
      platforms: [{ os: 'linux', architecture: 'amd64', variant: '' }],
    };
  }

  async login(...args: Parameters<Images['login']>): ReturnType<Images['login']> {
    this.calls.push(['login', ...args]);
    if (args[0].password !== 'right') throw new EngineError('unauthorized', 'incorrect username or password');
    return { status: 'Login Succeeded', identityToken: '' };
  }

  async search(...args: Parameters<Images['search']>): ReturnType<Images['search']> {
    this.calls.push(['search', ...args]);
    return [{ name: 'busybox', description: 'small', stars: 9, official: true }];
  }

  commit = unused;
  applyChanges = unused;
  layersOf = unused;
  idOf = (name: string): ReturnType<Images['idOf']> => this.find(name)?.id;
  useGuard = unused;
  migrate = unused;

  async usage(): ReturnType<Images['usage']> {
    return { layersSize: 4200000, images: this.stored.map((each) => ({ image: each, sharedSize: 0 })) };
  }
}
