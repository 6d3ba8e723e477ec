import { mkdirSync, renameSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { dirname } from 'node:path';

/** What a plugin answers to one method; whoever gives nothing back has answered by itself, or never will. */
export type PluginAnswer = (body: Record<string, unknown>, response: ServerResponse, raw: Buffer) => unknown;

/** Ways in which a plugin can be bad, each as an answer. */
export const faults = {
  hangs: () => undefined,
  dies: (_body, response) => void response.socket?.destroy(),
  'answers half': (_body, response) => {
    response.writeHead(200, { 'content-length': '1000' });
    response.write('{"Err":');
    response.socket?.end();
  },
  'answers nothing': (_body, response) => void response.writeHead(200).end(),
  'answers no JSON': (_body, response) => void response.writeHead(200).end('<html>it works</html>'),
  'answers a list': (_body, response) => void response.writeHead(200).end('[]'),
  'answers null': (_body, response) => void response.writeHead(200).end('null'),
  'answers wrong types': () => ({
    Err: 7,
    Error: 7,
    Mountpoint: {},
    Volume: 'v',
    Volumes: 5,
    Allow: 'true',
    Implements: 'all',
    Capabilities: 1,
    Scope: 1,
  }),
  'answers for ever': (_body, response) => {
    response.writeHead(200);
    const chunk = Buffer.alloc(64 * 1024, ' ');
    const write = (): void => {
      while (!response.destroyed && response.write(chunk));
      if (!response.destroyed) response.once('drain', write);
    };
    response.on('error', () => undefined);
    write();
  },
  'answers too deep': (_body, response) => void response.writeHead(200).end(`{"Status":${'['.repeat(200)}${']'.repeat(200)}}`),
  redirects: (_body, response) => void response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end(),
  'says 201': (_body, response) => void response.writeHead(201).end('{}'),
  'says 500': (_body, response) => void response.writeHead(500).end('{"Err":"broken inside"}'),
  drips: (_body, response) => {
    response.writeHead(200);
    const timer = setInterval(() => response.write(' '), 20);
    response.on('close', () => clearInterval(timer));
  },
} satisfies Record<string, PluginAnswer>;

/** A plugin on a socket, scripted by a test. What it has no answer for is 404. */
export class FakePlugin {
  /** Every call in the order it came, with its body as text. */
  readonly calls: { method: string; body: string }[] = [];
  private server: Server | undefined;
  private readonly sockets = new Set<Socket>();

  private constructor(
    readonly socket: string,
    public answers: Record<string, PluginAnswer>,
  ) {}

  static async start(socket: string, kinds: readonly string[], answers: Record<string, PluginAnswer> = {}): Promise<FakePlugin> {
    const plugin = new FakePlugin(socket, { 'Plugin.Activate': () => ({ Implements: kinds }), ...answers });
    await plugin.up();
    return plugin;
  }

  async up(): Promise<void> {
    mkdirSync(dirname(this.socket), { recursive: true });
    rmSync(this.socket, { force: true });
    const server = createServer((request, response) => void this.serve(request, response));
    server.on('connection', (socket) => {
      this.sockets.add(socket);
      socket.on('close', () => this.sockets.delete(socket));
    });
    await new Promise<void>((done) => server.listen(this.socket, done));
    this.server = server;
  }

  /** As a killed process: connections break, the socket's file stays. */
  async down(options: { removeSocket?: boolean } = {}): Promise<void> {
    const { server } = this;
    this.server = undefined;
    for (const socket of this.sockets) socket.destroy();
    if (!server) return;
    // A server that closes takes its socket's file along; a killed process leaves it.
    if (!options.removeSocket) renameSync(this.socket, `${this.socket}.kept`);
    await new Promise((done) => server.close(done));
    if (!options.removeSocket) renameSync(`${this.socket}.kept`, this.socket);
  }

  called(method: string): number {
    return this.calls.filter((call) => call.method === method).length;
  }

  private async serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    try {
      for await (const chunk of request) chunks.push(chunk as Buffer);
    } catch {
      return;
    }
    const raw = Buffer.concat(chunks);
    const method = (request.url ?? '').slice(1).split('?')[0] ?? '';
    this.calls.push({ method, body: raw.toString() });
    const answer = this.answers[method];
    if (!answer) return void response.writeHead(404).end('{"Err":"unknown method"}');
    let body: Record<string, unknown> = {};
    try {
      if (raw.length > 0) body = JSON.parse(raw.toString()) as Record<string, unknown>;
    } catch {
      // an archive
    }
    const value = await answer(body, response, raw);
    if (value !== undefined) response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(value));
  }
}
