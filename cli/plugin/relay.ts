import { createServer, request, type ClientRequest, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { rmSync } from 'node:fs';

export interface RelayedCall {
  readonly method: string;
  readonly ms: number;
  readonly status: number;
  readonly request: string;
  readonly answer: string;
}

/** As much of a body as is shown. */
const SHOWN = 2000;
/** A body of at most so many bytes is handed on in one piece, whole. */
const ONE_PIECE = 1 << 20;

/** Stands on a plugin's socket, hands every call on to where the plugin really listens, and tells of it. Works for any language. */
export class Relay {
  private server: Server | undefined;

  constructor(
    private readonly socket: string,
    private readonly behind: string,
    private readonly told: (call: RelayedCall) => void,
    /** Resolves when the plugin listens: a call that comes while it is started again waits for it. */
    private readonly ready: () => Promise<void>,
  ) {}

  async open(): Promise<void> {
    rmSync(this.socket, { force: true });
    const server = createServer((incoming, outgoing) => void this.ready().then(() => this.relay(incoming, outgoing)));
    server.requestTimeout = 0;
    await new Promise<void>((done, fail) => {
      server.once('error', fail);
      server.listen(this.socket, done);
    });
    this.server = server;
  }

  async close(): Promise<void> {
    const { server } = this;
    if (!server) return;
    const closed = new Promise((done) => server.close(done));
    server.closeAllConnections();
    await closed;
  }

  private relay(incoming: IncomingMessage, outgoing: ServerResponse): void {
    const began = performance.now();
    const [request_, answer] = [new Beginning(), new Beginning()];
    incoming.on('data', (chunk: Buffer) => request_.add(chunk));
    const tell = (status: number): void =>
      this.told({
        method: (incoming.url ?? '/').slice(1),
        ms: Math.round((performance.now() - began) * 100) / 100,
        status,
        request: request_.text,
        answer: answer.text,
      });
    const call = request({ socketPath: this.behind, method: incoming.method, path: incoming.url, headers: incoming.headers, agent: false });
    let answered = false;
    call.on('response', (response) => {
      answered = true;
      outgoing.writeHead(response.statusCode ?? 502, response.headers);
      response.on('data', (chunk: Buffer) => answer.add(chunk));
      response.on('end', () => tell(response.statusCode ?? 502));
      response.on('error', () => outgoing.destroy());
      response.pipe(outgoing);
    });
    call.on('error', (error) => {
      // A plugin that answers and closes before it has read all is heard all the same.
      if (answered) return;
      answer.add(Buffer.from(error.message));
      tell(0);
      // As the plugin did it: the engine shall see what it would see without the relay.
      incoming.socket.destroy();
    });
    incoming.on('close', () => {
      if (!incoming.complete) call.destroy();
    });
    if (Number(incoming.headers['content-length']) <= ONE_PIECE) inOnePiece(incoming, call);
    else incoming.pipe(call);
  }
}

/** A plugin has answered and closed when it has read as much as was announced: a write after that, be it of nothing, fails and takes the answer with it. */
function inOnePiece(incoming: IncomingMessage, call: ClientRequest): void {
  const chunks: Buffer[] = [];
  incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
  incoming.on('end', () => call.end(Buffer.concat(chunks)));
}

class Beginning {
  private bytes = Buffer.alloc(0);

  add(chunk: Buffer): void {
    if (this.bytes.length < SHOWN) this.bytes = Buffer.concat([this.bytes, chunk.subarray(0, SHOWN - this.bytes.length)]);
  }

  get text(): string {
    return this.bytes.toString('utf8').trim();
  }
}
