import { readFile } from 'node:fs/promises';
import { createConnection, type Socket } from 'node:net';
import type { ConnectionOptions } from 'node:tls';
import type { Endpoint, TlsFiles } from './endpoint.js';

/** Nobody answers at the endpoint. */
export class ConnectionError extends Error {
  constructor(
    readonly url: string,
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

/**
 * Opens a connection that stays half open: each side ends its own direction, which is how the end of stdin is told.
 *
 * @throws ConnectionError when there is no answer
 */
export const connect = async (endpoint: Endpoint): Promise<Socket> => {
  const options = { ...endpoint.address, allowHalfOpen: true };
  const socket = endpoint.tls ? await connectTls(endpoint, endpoint.tls) : createConnection(options);
  await new Promise<void>((resolve, reject) => {
    socket.once(endpoint.tls ? 'secureConnect' : 'connect', resolve);
    socket.once('error', (error: NodeJS.ErrnoException) =>
      reject(new ConnectionError(endpoint.url, error.code ?? '', explain(endpoint, error))),
    );
  });
  socket.removeAllListeners('error');
  if (!('path' in endpoint.address)) socket.setNoDelay(true).setKeepAlive(true, 30_000);
  return socket;
};

const explain = (endpoint: Endpoint, error: NodeJS.ErrnoException): string => {
  if (error.code === 'EACCES') return `permission denied while trying to connect to the Docker daemon socket at ${endpoint.url}`;
  if (error.code === 'ENOENT' || error.code === 'ECONNREFUSED')
    return `Cannot connect to the Docker daemon at ${endpoint.url}. Is the docker daemon running?`;
  return `error during connect: ${endpoint.url}: ${error.message}`;
};

const connectTls = async (endpoint: Endpoint, files: TlsFiles): Promise<Socket> => {
  const { connect: dial } = await import('node:tls');
  const read = async (path: string): Promise<Buffer | undefined> =>
    readFile(path).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT' && !files.named) return undefined;
      throw new ConnectionError(endpoint.url, error.code ?? '', `could not read TLS file ${path}: ${error.message}`);
    });
  const [ca, cert, key] = await Promise.all([read(files.ca), read(files.cert), read(files.key)]);
  const options: ConnectionOptions = {
    ...(endpoint.address as { host: string; port: number }),
    rejectUnauthorized: files.verify,
    minVersion: 'TLSv1.2',
    ...(ca ? { ca } : {}),
    ...(cert && key ? { cert, key } : {}),
  };
  // The types do not know it, but the option reaches the socket below.
  return dial({ ...options, allowHalfOpen: true } as ConnectionOptions);
};

/** Pulls bytes out of a socket when they are wanted, so that the peer feels it when nobody reads. */
export class SocketReader {
  private kept: Buffer | undefined;
  private failure: Error | undefined;
  private done = false;
  private wake: (() => void) | undefined;

  constructor(private readonly socket: Socket) {
    const notify = (): void => this.wake?.();
    socket.on('readable', notify);
    socket.once('end', () => {
      this.done = true;
      notify();
    });
    socket.once('close', () => {
      this.done = true;
      notify();
    });
    socket.on('error', (error) => {
      this.failure ??= error;
      notify();
    });
  }

  /** What has come, waiting until there is something; undefined at the end. */
  async read(): Promise<Buffer | undefined> {
    if (this.kept) {
      const kept = this.kept;
      this.kept = undefined;
      return kept;
    }
    for (;;) {
      const data = this.socket.read() as Buffer | null;
      if (data !== null) return data;
      if (this.failure) throw this.failure;
      if (this.done) return undefined;
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
      this.wake = undefined;
    }
  }

  /** Puts bytes back, to be the next that are read. */
  unread(data: Buffer): void {
    if (data.length > 0) this.kept = this.kept ? Buffer.concat([data, this.kept]) : data;
  }
}
