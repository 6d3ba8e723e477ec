import { readFileSync } from 'node:fs';
import type { RequestOptions } from 'node:https';
import { invalid, messageOf } from '@gantry/core/contracts/errors.js';
import type { PluginPlace } from '@gantry/core/contracts/plugin.js';

/** What `http.request` or `https.request` needs to reach a plugin. */
export interface Route {
  readonly secure: boolean;
  /** The socket's path, '' for TCP. */
  readonly socketPath: string;
  readonly options: RequestOptions;
}

/** Docker's engines of today say this to sockets; servers are to ignore it. */
const SOCKET_HOST = 'plugin.moby.localhost';

/** Reads an address and its TLS files. Throws `invalid-parameter` that names the file which gave it. */
export function routeTo(place: PluginPlace): Route {
  const { address, source } = place;
  const wrong = (why: string, cause?: unknown): Error => invalid(`plugin ${place.name}: ${source}: ${why}`, cause);
  if (address.startsWith('unix://')) {
    const socketPath = address.slice('unix://'.length);
    if (!socketPath.startsWith('/')) throw wrong(`the socket's path must be absolute: ${address}`);
    return { secure: false, socketPath, options: { socketPath, headers: { host: SOCKET_HOST } } };
  }
  const scheme = /^([a-z]+):\/\//i.exec(address)?.[1]?.toLowerCase();
  if (scheme !== 'tcp' && scheme !== 'http' && scheme !== 'https')
    throw wrong(`Unknown protocol: ${address.slice(0, 200)} (unix://, tcp://, http:// and https:// are known)`);
  let url: URL;
  try {
    // `tcp` is no scheme that URL would take host and port from.
    url = new URL(address.replace(/^tcp:/i, 'http:'));
  } catch (error) {
    throw wrong(`not an address: ${address.slice(0, 200)}`, error);
  }
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const secure = scheme === 'https';
  if (!secure && !isLoopback(host))
    throw wrong(`${address} is on another host and without TLS: whoever is on the way could answer for it; use https:// with a CAFile`);
  const port = url.port === '' ? (secure ? 443 : 80) : Number(url.port);
  return { secure, socketPath: '', options: { host, port, ...(secure ? tlsOptions(place, wrong) : {}) } };
}

const isLoopback = (host: string): boolean => host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host);

function tlsOptions({ tls }: PluginPlace, wrong: (why: string, cause?: unknown) => Error): RequestOptions {
  if (!tls) return { minVersion: 'TLSv1.2' };
  const read = (path: string | undefined): Buffer | undefined => {
    if (path === undefined || path === '') return undefined;
    try {
      return readFileSync(path);
    } catch (error) {
      throw wrong(`cannot read a TLS file: ${messageOf(error)}`, error);
    }
  };
  const [ca, cert, key] = [read(tls.caFile), read(tls.certFile), read(tls.keyFile)];
  return {
    minVersion: 'TLSv1.2',
    rejectUnauthorized: !tls.insecureSkipVerify,
    ...(ca && { ca }),
    ...(cert && { cert }),
    ...(key && { key }),
  };
}
