import { type ClientRequest, type IncomingMessage, request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { EngineError, messageOf } from '@gantry/core/contracts/errors.js';
import type { PluginPlace } from '@gantry/core/contracts/plugin.js';
import { MEDIA_TYPE, describe, type JsonMethod, type Method, type RequestOf, type ResponseOf } from '../sdk/protocol/methods.js';
import { type Route, routeTo } from './address.js';
import { misbehaved, readAnswer, refusal } from './answers.js';
import type { CallLog } from './call-log.js';
import { answerLimit, deadlineOf, limits } from './limits.js';

export interface CallOptions {
  /** Cancels the call: the connection is closed, and the plugin may notice. */
  readonly signal?: AbortSignal;
  /** Milliseconds, instead of the method's own. */
  readonly deadline?: number;
  /** How long a plugin that cannot be reached is tried again; nothing is ever delivered twice. */
  readonly patience?: number;
}

/** The plugin could not be reached, or its answer did not come in time or whole. `delivered`: it may have acted. */
export class Unreached extends EngineError {
  constructor(
    message: string,
    readonly delivered: boolean,
    /** It took the connection and said nothing. */
    readonly hangs: boolean,
    cause?: unknown,
  ) {
    super('unavailable', message, { cause });
  }
}

interface Answer {
  readonly status: number;
  readonly message: IncomingMessage;
}

/**
 * Calls one plugin. Each call has a connection of its own: a pooled one that the plugin closes under a request leaves nobody
 * knowing whether the request was acted on, and to connect to a socket costs a tenth of a millisecond.
 */
export class PluginClient {
  private readonly route: Route;

  constructor(
    private readonly place: PluginPlace,
    private readonly calls: CallLog,
  ) {
    this.route = routeTo(place);
  }

  /** A call with JSON on both sides. */
  async call<M extends JsonMethod>(method: M, body: RequestOf<M>, options: CallOptions = {}): Promise<ResponseOf<M>> {
    return this.watched(method, body, async (told) => {
      const bytes = describe(method).request === undefined ? undefined : Buffer.from(`${JSON.stringify(body)}\n`);
      const watch = new Watch(options, deadlineOf(method));
      try {
        const { status, message } = await this.send(method, `/${method}`, bytes, watch, options.patience ?? limits.reconnect);
        told.status = status;
        const answered = await this.collect(method, message, watch);
        told.response = answered;
        return await readAnswer(this.place.name, method, status, answered);
      } finally {
        watch.end();
      }
    });
  }

  /** A call whose answer is a stream of bytes: an archive or log entries. The stream fails, rather than ends, when it breaks. */
  async download(method: 'GraphDriver.Diff' | 'LogDriver.ReadLogs', body: object, options: CallOptions = {}): Promise<Readable> {
    return this.watched(method, body, async (told) => {
      const bytes = Buffer.from(`${JSON.stringify(body)}\n`);
      const watch = new Watch(options, deadlineOf(method));
      try {
        const { status, message } = await this.send(method, `/${method}`, bytes, watch, limits.reconnect);
        told.status = status;
        if (status !== 200) throw refusal(method, status, await this.collect(method, message, watch));
        // A followed log may be quiet for days.
        if (method === 'GraphDriver.Diff') message.setTimeout(limits.streamIdle, () => message.destroy(this.silent(method)));
        if (options.signal) {
          const cancel = (): void => void message.destroy();
          options.signal.addEventListener('abort', cancel, { once: true });
          message.once('close', () => options.signal?.removeEventListener('abort', cancel));
        }
        return message;
      } finally {
        watch.end();
      }
    });
  }

  /** A call whose request is a stream of bytes. It is never sent again: the stream is consumed. */
  async upload<M extends 'GraphDriver.ApplyDiff'>(
    method: M,
    query: Readonly<Record<string, string>>,
    body: Readable,
    options: CallOptions = {},
  ): Promise<{ Size?: number | null }> {
    return this.watched(method, undefined, async (told) => {
      const watch = new Watch(options, Number.POSITIVE_INFINITY);
      try {
        // Not escaped by the engines that plugins know; ids are hex digits, which need no escape.
        const path = `/${method}?${Object.entries(query)
          .map(([name, value]) => `${name}=${value}`)
          .join('&')}`;
        const { status, message } = await this.send(method, path, body, watch, 0);
        told.status = status;
        const answered = await this.collect(method, message, watch);
        told.response = answered;
        return (await readAnswer(this.place.name, method as unknown as JsonMethod, status, answered)) as { Size?: number | null };
      } finally {
        watch.end();
      }
    });
  }

  /** Tries until a connection stands, then delivers once. */
  private async send(method: Method, path: string, body: Buffer | Readable | undefined, watch: Watch, patience: number): Promise<Answer> {
    const began = performance.now();
    for (let wait = 25; ; wait = Math.min(wait * 2, 400)) {
      try {
        return await this.once(method, path, body, watch);
      } catch (error) {
        // A plugin whose queue of connections is full is there and busy, which is no reason to give up at once.
        const allowed = (error as { cause?: { code?: string } }).cause?.code === 'EAGAIN' ? Math.max(patience, limits.connect) : patience;
        const again = error instanceof Unreached && !error.delivered && !error.hangs && performance.now() - began + wait < allowed;
        if (!again || watch.over) throw error;
        await sleep(wait);
      }
    }
  }

  private async once(method: Method, path: string, body: Buffer | Readable | undefined, watch: Watch): Promise<Answer> {
    const stream = body instanceof Readable;
    const headers: Record<string, string> = {
      ...(this.route.options.headers as Record<string, string> | undefined),
      'user-agent': 'Go-http-client/1.1',
      accept: MEDIA_TYPE,
      ...(stream ? { 'transfer-encoding': 'chunked' } : { 'content-length': String(body?.length ?? 0) }),
    };
    const options = { ...this.route.options, method: 'POST', path, headers, agent: false } as const;
    return new Promise<Answer>((resolve, reject) => {
      let connected = false;
      const call: ClientRequest = this.route.secure ? httpsRequest(options) : httpRequest(options);
      const stop = watch.attach((why) => call.destroy(why));
      const early = setTimeout(() => call.destroy(new Error(`no connection within ${limits.connect} ms`)), limits.connect);
      call.once('socket', (socket) => {
        socket.once(this.route.secure ? 'secureConnect' : 'connect', () => {
          connected = true;
          clearTimeout(early);
          if (stream) {
            socket.setTimeout(limits.streamIdle, () => call.destroy(this.silent(method)));
            pipeline(body, call).catch((error: unknown) => call.destroy(error as Error));
          } else call.end(body);
        });
      });
      call.once('response', (message) => {
        resolve({ status: message.statusCode ?? 0, message });
        stop.onAnswer(message);
      });
      call.once('error', (error) => {
        clearTimeout(early);
        stop.detach();
        if (stream) body.destroy(error);
        reject(this.failure(method, error, connected, watch));
      });
    });
  }

  private async collect(method: Method, message: IncomingMessage, watch: Watch): Promise<Buffer> {
    const limit = answerLimit(method);
    const chunks: Buffer[] = [];
    let size = 0;
    try {
      for await (const chunk of message as AsyncIterable<Buffer>) {
        size += chunk.length;
        if (size > limit) {
          message.destroy();
          throw misbehaved(this.place.name, method, `the answer is larger than ${limit} bytes`);
        }
        chunks.push(chunk);
      }
    } catch (error) {
      throw error instanceof EngineError ? error : this.failure(method, error, true, watch);
    }
    return Buffer.concat(chunks);
  }

  private failure(method: Method, error: unknown, delivered: boolean, watch: Watch): EngineError {
    if (error instanceof EngineError) return error;
    const about = `plugin ${this.place.name}: ${method}`;
    if (watch.cancelled) return new EngineError('cancelled', `${about}: cancelled`, { cause: error });
    if (watch.late)
      return new Unreached(`${about}: no answer within ${watch.deadline / 1000} s (${this.place.address})`, delivered, true, error);
    return new Unreached(
      delivered
        ? `${about}: the connection ended before the answer: ${messageOf(error)}`
        : `${about}: cannot be reached at ${this.place.address}: ${messageOf(error)}`,
      delivered,
      false,
      error,
    );
  }

  private silent(method: Method): Error {
    return new Unreached(`plugin ${this.place.name}: ${method}: the stream stood still for ${limits.streamIdle / 1000} s`, true, true);
  }

  private async watched<T>(method: Method, body: unknown, act: (told: { status?: number; response?: Buffer }) => Promise<T>): Promise<T> {
    const ended = this.calls.begin(method, body);
    const told: { status?: number; response?: Buffer } = {};
    const end = (error?: string): void =>
      ended({
        ...(told.status === undefined ? {} : { status: told.status }),
        ...(this.calls.traced && told.response ? { response: parsed(told.response) } : {}),
        ...(error === undefined ? {} : { error }),
      });
    try {
      const result = await act(told);
      end();
      return result;
    } catch (error) {
      end(messageOf(error));
      throw error;
    }
  }
}

function parsed(bytes: Buffer): unknown {
  const text = bytes.toString('utf8');
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** The deadline of one call over all its parts, and the caller's own wish to end it. */
class Watch {
  late = false;
  private destroy: ((why: Error) => void) | undefined;
  private readonly timer: NodeJS.Timeout | undefined;
  private readonly signal: AbortSignal | undefined;
  readonly deadline: number;

  constructor(options: CallOptions, deadline: number) {
    this.deadline = options.deadline ?? deadline;
    this.signal = options.signal;
    if (Number.isFinite(this.deadline))
      this.timer = setTimeout(() => {
        this.late = true;
        this.destroy?.(new Error('too late'));
      }, this.deadline);
    this.signal?.addEventListener('abort', this.abort, { once: true });
  }

  get cancelled(): boolean {
    return this.signal?.aborted ?? false;
  }

  get over(): boolean {
    return this.late || this.cancelled;
  }

  attach(destroy: (why: Error) => void): { onAnswer: (message: IncomingMessage) => void; detach: () => void } {
    this.destroy = destroy;
    if (this.over) queueMicrotask(() => destroy(new Error('over')));
    return {
      onAnswer: (message) => (this.destroy = (why) => message.destroy(why)),
      detach: () => (this.destroy = undefined),
    };
  }

  end(): void {
    clearTimeout(this.timer);
    this.destroy = undefined;
    this.signal?.removeEventListener('abort', this.abort);
  }

  private readonly abort = (): void => this.destroy?.(new Error('cancelled'));
}
