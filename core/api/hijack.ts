import { ServerResponse, type IncomingMessage, type Server } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { ClientStream } from '../container/containers.js';
import { messageOf } from '../contracts/errors.js';
import { ClientSocket } from './client-socket.js';
import type { ApiContext } from './context.js';

export const RAW_STREAM = 'application/vnd.docker.raw-stream';
export const MULTIPLEXED_STREAM = 'application/vnd.docker.multiplexed-stream';

/** The type of a byte stream: since 1.42 it says whether it is framed. */
export const streamType = (framed: boolean, version: number): string => (framed && version >= 42 ? MULTIPLEXED_STREAM : RAW_STREAM);

interface Upgrade {
  /** The connection, or a stream around it when the request's body came later than its head. */
  readonly socket: Duplex;
  readonly head: Buffer;
}

const upgrades = new WeakMap<IncomingMessage, Upgrade>();

/** The clean socket of a request that asked for an upgrade. */
export const upgradeOf = (raw: IncomingMessage): Upgrade | undefined => upgrades.get(raw);

export const upgradeWanted = (raw: IncomingMessage): boolean => /^(tcp|h2c|websocket)$/i.test(raw.headers.upgrade ?? '');

/**
 * Requests that ask for an upgrade go through the same routes as others. Node has read their body and takes its parser off the
 * socket; without a listener for `upgrade` the parser would stay, and lose early input and half closes. What a route
 * answers plainly (an error) goes out on a response made for the purpose.
 */
export function acceptUpgrades(server: Server, route: (request: IncomingMessage, response: ServerResponse) => void): void {
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on('error', () => undefined);
    const response = new ServerResponse(request);
    response.shouldKeepAlive = false;
    // It is written to as to any stream, whatever its class.
    response.assignSocket(socket as Socket);
    response.on('finish', () => {
      response.detachSocket(socket as Socket);
      socket.resume();
      socket.end(() => socket.destroy());
    });
    upgrades.set(request, { socket, head });
    route(request, response);
  });
}

/** Takes the socket from HTTP. What HTTP wrote to it so far stays; nothing is read from it by HTTP any more. */
export function takeSocket(reply: FastifyReply): { socket: Duplex; connection: Socket; early: Buffer; upgraded: boolean } {
  const raw = reply.request.raw;
  const connection = raw.socket;
  const upgrade = upgrades.get(raw);
  reply.hijack();
  if (upgrade) {
    reply.raw.detachSocket(upgrade.socket as Socket);
    return { socket: upgrade.socket, connection, early: upgrade.head, upgraded: true };
  }
  reply.raw.detachSocket(connection);
  for (const event of ['data', 'end', 'drain', 'error', 'timeout']) connection.removeAllListeners(event);
  connection.on('error', () => undefined);
  connection.setTimeout(0);
  return { socket: connection, connection, early: Buffer.alloc(0), upgraded: false };
}

export interface HijackOptions {
  readonly stdin: boolean;
}

/**
 * Serves a request whose answer is a two-way stream. `run` throws before it opens the stream for a plain error answer; what goes
 * wrong later is text in the stream, since the status is out.
 */
export async function serveHijacked(
  context: ApiContext,
  reply: FastifyReply,
  options: HijackOptions,
  run: (open: (info: { tty: boolean }) => Promise<ClientStream>) => Promise<void>,
): Promise<void> {
  let client: ClientSocket | undefined;
  const open = async ({ tty }: { tty: boolean }): Promise<ClientStream> => {
    await context.authorizeAnswer(reply.request, reply.request.raw.headers.upgrade === undefined ? 200 : 101);
    client = await openSocket(context, reply, { ...options, framed: !tty });
    return client;
  };
  try {
    await run(open);
  } catch (error) {
    if (!client) throw error;
    context.log.debug('a stream ended with an error', { url: reply.request.url, error: messageOf(error) });
    await client.write('stdout', Buffer.from(`${messageOf(error)}\r\n`));
  }
  client?.end();
}

async function openSocket(context: ApiContext, reply: FastifyReply, options: HijackOptions & { framed: boolean }): Promise<ClientSocket> {
  const request = reply.request;
  const headers = reply.getHeaders();
  const { socket, connection, early, upgraded } = takeSocket(reply);
  context.open.add(connection);
  connection.once('close', () => context.open.delete(connection));
  const lines = [upgraded ? 'HTTP/1.1 101 UPGRADED' : 'HTTP/1.1 200 OK', `Content-Type: ${streamType(options.framed, request.apiVersion)}`];
  if (upgraded) lines.push('Connection: Upgrade', 'Upgrade: tcp');
  for (const [name, value] of Object.entries(headers)) lines.push(`${name}: ${String(value)}`);
  await new Promise<void>((resolve) => socket.write(`${lines.join('\r\n')}\r\n\r\n`, () => resolve()));
  return new ClientSocket(socket, { framed: options.framed, stdin: options.stdin, early, connection, unsent: context.unsent });
}

/** True when the client can be given a two-way stream; for routes that have other answers too. */
export const isUpgrade = (request: FastifyRequest): boolean => upgrades.has(request.raw);
