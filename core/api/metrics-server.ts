import { closeSync, constants, openSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { messageOf } from '../contracts/errors.js';
import type { Logger } from '../contracts/manifest.js';
import { bindUnix } from './listen.js';

/** Where the metrics can be read. */
export type MetricsPlace =
  /** A unix socket, for root and its group. */
  | { readonly path: string }
  /** The socket `metrics.sock` in a folder that somebody else may write: nothing that is put there leads anywhere. */
  | { readonly folder: string }
  | { readonly host: string; readonly port: number };

/** Serves the engine's metrics as Prometheus reads them, at any number of places, to whoever can connect there. */
export class MetricsServer {
  private readonly servers = new Map<string, () => Promise<void>>();

  constructor(
    /** The metrics in Prometheus' text format. */
    private readonly text: () => Promise<string>,
    private readonly log: Logger,
  ) {}

  /** Resolves to the address. Serving where it serves already changes nothing. */
  async listen(place: MetricsPlace): Promise<string> {
    const key = keyOf(place);
    if (this.servers.has(key)) return key;
    const server = createServer((request, response) => {
      if (new URL(request.url ?? '/', 'http://metrics').pathname !== '/metrics') return void response.writeHead(404).end('not found\n');
      if (request.method !== 'GET' && request.method !== 'HEAD') return void response.writeHead(405, { allow: 'GET, HEAD' }).end();
      this.text().then(
        (text) => response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' }).end(text),
        (error: unknown) => {
          this.log.warn('the metrics could not be read', { error: messageOf(error) });
          response.writeHead(500).end(`${messageOf(error)}\n`);
        },
      );
    });
    if ('folder' in place) {
      this.servers.set(key, await inFolder(server, place.folder));
      return key;
    }
    await ('path' in place ? bindUnix(server, place) : listening(server, place));
    this.servers.set(key, () => end(server));
    return 'path' in place ? key : addressOf(server);
  }

  /** Stops serving at a path or in a folder and takes the socket away; repeatable. */
  async leave(path: string): Promise<void> {
    const stop = this.servers.get(path);
    this.servers.delete(path);
    await stop?.();
  }

  async close(): Promise<void> {
    const servers = [...this.servers.values()];
    this.servers.clear();
    await Promise.all(servers.map((stop) => stop()));
  }
}

const keyOf = (place: MetricsPlace): string =>
  'path' in place ? place.path : 'folder' in place ? place.folder : `${place.host}:${place.port}`;

/** By the folder's descriptor: the path may be longer than a socket's may be, and nobody can lead it elsewhere. */
async function inFolder(server: Server, folder: string): Promise<() => Promise<void>> {
  const fd = openSync(folder, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  try {
    const path = `/proc/self/fd/${fd}/metrics.sock`;
    await rm(path, { force: true });
    const umask = process.umask(0o177);
    let bound;
    try {
      // The bind happens in this call; to wait under the umask would give it to others' files.
      bound = listening(server, { path });
    } finally {
      process.umask(umask);
    }
    await bound;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  return async () => {
    await end(server);
    closeSync(fd);
  };
}

function addressOf(server: Server): string {
  const address = server.address();
  return typeof address === 'object' && address ? `${address.address}:${address.port}` : String(address);
}

const listening = (server: Server, where: { path: string } | { host: string; port: number }): Promise<void> =>
  new Promise((done, fail) => {
    server.once('error', fail);
    server.listen(where, () => {
      server.off('error', fail);
      done();
    });
  });

const end = (server: Server): Promise<void> =>
  new Promise((done) => {
    server.close(() => done());
    server.closeAllConnections();
  });
