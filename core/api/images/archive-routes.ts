import type { Readable } from 'node:stream';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { invalid, notImplemented } from '../../contracts/errors.js';
import type { ApiContext } from '../context.js';
import { platformOfJson, platformOfText } from '../platform.js';
import { serveProgress } from '../progress.js';
import { Query } from '../query.js';
import { decodeRegistryAuth } from '../registry-auth.js';
import { sendReadable } from '../response-stream.js';
import type { Services } from '../services.js';
import { openImportSource } from './import-source.js';
import type { NamedImage } from './routes.js';

/** Name and tag of a pull: the tag (or digest) may be part of the name. An empty tag of a bare name means all of them. */
export function pulledName(fromImage: string, tag: string): { name: string; tag: string } {
  if (tag !== '') return { name: fromImage, tag };
  const at = fromImage.indexOf('@');
  if (at >= 0) return { name: fromImage.slice(0, at), tag: fromImage.slice(at + 1) };
  const colon = fromImage.lastIndexOf(':');
  // A colon before the last slash belongs to the registry's port.
  if (colon > fromImage.lastIndexOf('/')) return { name: fromImage.slice(0, colon), tag: fromImage.slice(colon + 1) };
  return { name: fromImage, tag: '' };
}

/** Images from registries and archives, and back into archives. */
export function imageArchiveRoutes(app: FastifyInstance, services: Services, context: ApiContext): void {
  const { images } = services;

  const save = async (request: FastifyRequest, reply: FastifyReply, names: readonly string[]): Promise<void> => {
    const platform = request.apiVersion >= 48 ? platformOfJson(new Query(request).text('platform')) : undefined;
    await sendReadable(context, reply, 'application/x-tar', await images.save(names, platform));
  };

  app.post('/images/create', (request, reply) => {
    const query = new Query(request);
    const platform = platformOfText(query.text('platform').toLowerCase());
    const fromImage = query.text('fromImage');
    if (fromImage !== '') {
      const pull = {
        ...pulledName(fromImage, query.text('tag')),
        platform,
        auth: decodeRegistryAuth(request.headers['x-registry-auth']),
        storageDriver: query.text('storage-driver'),
      };
      return serveProgress(context, reply, (sink, signal) => images.pull(pull, sink, signal));
    }
    const source = query.text('fromSrc');
    if (source === '') throw invalid('fromImage or fromSrc is required');
    const imported = {
      repository: query.text('repo'),
      tag: query.text('tag'),
      message: query.text('message'),
      changes: query
        .list('changes')
        .flatMap((change) => change.split('\n'))
        .filter((line) => line.trim() !== ''),
      platform,
    };
    return serveProgress(context, reply, async (sink, signal) => {
      let archive = (request.body ?? request.raw) as Readable;
      if (source !== '-') {
        const { url, content } = await openImportSource(source, signal);
        sink({ status: `Downloading from ${url}` });
        archive = content;
      }
      try {
        sink({ status: await images.import(archive, imported, sink) });
      } finally {
        if (source !== '-') archive.destroy();
      }
    });
  });

  app.post('/images/load', (request, reply) => {
    const query = new Query(request);
    if (request.apiVersion >= 48 && query.has('platform')) throw notImplemented('loading a single platform of an archive');
    return serveProgress(context, reply, (sink) =>
      images.load((request.body ?? request.raw) as Readable, { quiet: query.bool('quiet', true) }, sink),
    );
  });

  app.get('/images/get', (request, reply) => save(request, reply, new Query(request).list('names')));
  app.get<NamedImage>('/images/:name/get', (request, reply) => save(request, reply, [request.params.name]));
}
