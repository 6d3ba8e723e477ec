import type { FastifyReply } from 'fastify';
import type { WebSocket, WebSocketServer } from 'ws';
import type { ClientStream } from '../../container/containers.js';
import { invalid } from '../../contracts/errors.js';
import type { ApiContext } from '../context.js';
import { isUpgrade, takeSocket } from '../hijack.js';
import { limits } from '../limits.js';

/** Unsent bytes past which a writer waits. */
const BACKLOG = 64 * 1024;

let server: Promise<WebSocketServer> | undefined;

/** Loaded with the first handshake, which hardly anybody makes. */
async function loadServer(): Promise<WebSocketServer> {
  const ws = await import('ws');
  return new ws.WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: limits.websocketMessage,
  });
}

/** Answers a websocket handshake. Streams are merged and not framed, as Docker has it; messages are binary. */
export async function openWebsocket(context: ApiContext, reply: FastifyReply, stdin: boolean): Promise<ClientStream> {
  if (!isUpgrade(reply.request)) throw invalid('a websocket handshake is expected');
  await context.authorizeAnswer(reply.request, 101);
  const handshake = await (server ??= loadServer());
  const { socket, early } = takeSocket(reply);
  context.open.add(socket);
  socket.once('close', () => context.open.delete(socket));
  const websocket = await new Promise<WebSocket>((resolve, reject) => {
    socket.once('close', () => reject(invalid('the websocket handshake failed')));
    handshake.handleUpgrade(reply.request.raw, socket, early, resolve);
  });
  return new WebsocketClient(websocket, stdin);
}

class WebsocketClient implements ClientStream {
  readonly input: AsyncIterable<Buffer> | undefined;
  private readonly abort = new AbortController();

  constructor(
    private readonly websocket: WebSocket,
    stdin: boolean,
  ) {
    websocket.on('error', () => undefined);
    websocket.once('close', () => this.abort.abort());
    if (stdin) this.input = messagesOf(websocket);
  }

  get gone(): AbortSignal {
    return this.abort.signal;
  }

  async write(_stream: 'stdout' | 'stderr' | 'system', chunk: Buffer): Promise<void> {
    const { websocket } = this;
    if (websocket.readyState !== websocket.OPEN) return;
    if (websocket.bufferedAmount < BACKLOG) websocket.send(chunk, { binary: true }, () => undefined);
    else await new Promise<void>((resolve) => websocket.send(chunk, { binary: true }, () => resolve()));
  }

  end(): void {
    this.websocket.close(1000);
  }
}

function messagesOf(websocket: WebSocket): AsyncIterable<Buffer> {
  const waiting: Buffer[] = [];
  let ended = false;
  let wake: (() => void) | undefined;
  const stir = (): void => {
    wake?.();
    wake = undefined;
  };
  websocket.on('message', (data) => {
    waiting.push(Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data as Buffer));
    websocket.pause();
    stir();
  });
  websocket.once('close', () => {
    ended = true;
    stir();
  });
  return {
    async *[Symbol.asyncIterator]() {
      for (;;) {
        const chunk = waiting.shift();
        if (chunk) {
          yield chunk;
          continue;
        }
        if (ended) return;
        if (websocket.readyState === websocket.OPEN) websocket.resume();
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    },
  };
}
