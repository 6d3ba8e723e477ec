import type { Readable } from 'node:stream';
import type { JsonMethod, RequestOf, ResponseOf } from '../protocol/methods.js';

/** What a plugin does for each method: JSON in, JSON out. A method that is not here is answered with 404. */
export type JsonHandlers = { [M in JsonMethod]?: (request: RequestOf<M>) => Promise<ResponseOf<M>> };

/** The methods that carry bytes. */
export interface StreamHandlers {
  'GraphDriver.Diff'?: (request: { ID: string; Parent?: string | null }) => Promise<Readable>;
  'GraphDriver.ApplyDiff'?: (query: { id: string; parent: string }, archive: Readable) => Promise<{ Size: number }>;
  'LogDriver.ReadLogs'?: (request: RequestOf<'LogDriver.ReadLogs'>, signal: AbortSignal) => AsyncIterable<Buffer>;
}

/** One kind's part of a plugin. */
export interface Part {
  /** The protocol's word. */
  readonly kind: string;
  readonly json: JsonHandlers;
  readonly streams?: StreamHandlers;
  /** The plugin ends: what is open is closed, what is kept stays. */
  close?(): Promise<void>;
}

/** A value, now or later: handlers of authors may be either. */
export type Maybe<T> = T | Promise<T>;
