import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { isIP } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { EngineError } from '../contracts/errors.js';

/** What the engine knows of who is at the other end. */
export interface Peer {
  /** Common name of the client's certificate, `uid:N` on a unix socket, '' when nobody can tell. */
  readonly user: string;
  /** `TLS` or ''. */
  readonly authenticationMethod: string;
  /** PEM. */
  readonly certificates: readonly string[];
}

/** Descriptor number of a socket, or `undefined` for one that has none (closed, or made by a test). */
export function descriptorOf(socket: Socket): number | undefined {
  const handle = (socket as unknown as { _handle?: { fd?: number } | null })._handle;
  return handle?.fd !== undefined && handle.fd >= 0 ? handle.fd : undefined;
}

const isTls = (socket: Socket): socket is TLSSocket => 'encrypted' in socket && (socket as TLSSocket).encrypted;

/** `userOf` reads SO_PEERCRED of a unix socket's descriptor; a socket that is gone has no user. */
export function peerOf(socket: Socket, userOf: ((fd: number) => number | undefined) | undefined): Peer {
  if (isTls(socket)) {
    const subject = socket.getPeerCertificate()?.subject as { CN?: string | string[] } | undefined;
    const name = [subject?.CN ?? ''].flat()[0] ?? '';
    return {
      user: socket.authorized ? name : '',
      authenticationMethod: socket.authorized && name !== '' ? 'TLS' : '',
      certificates: socket.authorized ? certificatesOf(socket) : [],
    };
  }
  if (socket.remoteAddress !== undefined) return { user: '', authenticationMethod: '', certificates: [] };
  const fd = descriptorOf(socket);
  const uid = fd === undefined ? undefined : userOf?.(fd);
  return { user: uid === undefined ? '' : `uid:${uid}`, authenticationMethod: '', certificates: [] };
}

function certificatesOf(socket: TLSSocket): string[] {
  const raw = (socket.getPeerCertificate() as { raw?: Buffer } | undefined)?.raw;
  if (!raw) return [];
  const lines = raw.toString('base64').match(/.{1,64}/g) ?? [];
  return [`-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`];
}

/**
 * Keeps browsers out. A page may not speak to the engine (`Origin`), and on plain TCP the name asked for must be an address or
 * one that the engine was told to listen on: a stranger's name that points here is DNS rebinding. With TLS the certificate
 * has settled the name; on a unix socket the Host header means nothing.
 */
export function refuseBrowsers(request: IncomingMessage, hostNames: ReadonlySet<string>): void {
  const socket = request.socket;
  if (socket.remoteAddress === undefined) return;
  const origin = request.headers.origin;
  if (origin !== undefined)
    throw new EngineError('forbidden', `requests from a web page are not allowed (Origin: ${origin.slice(0, 200)})`);
  if (isTls(socket)) return;
  const host = (request.headers.host ?? '')
    .replace(/:\d+$/, '')
    .replace(/^\[(.*)\]$/, '$1')
    .toLowerCase();
  if (host === '' || host === 'localhost' || isIP(host) !== 0 || hostNames.has(host)) return;
  throw new EngineError('forbidden', `host name ${JSON.stringify(host.slice(0, 200))} is not one that this engine listens on`);
}
