import { EngineError, type ErrorKind } from '../contracts/errors.js';
import { JsonReader, parseJson } from '../content/json.js';

/** What a registry answered instead of what was asked for. */
export class RegistryError extends EngineError {
  constructor(
    kind: ErrorKind,
    message: string,
    readonly status: number,
    /** The specification's word, `MANIFEST_UNKNOWN`; '' when the answer had none. */
    readonly code: string,
    /** Milliseconds to wait that the registry asked for. */
    readonly retryAfter: number | undefined,
  ) {
    super(kind, message);
  }

  /** Whether the same request may succeed later. */
  get transient(): boolean {
    return this.status >= 500 || this.status === 429 || this.status === 408;
  }
}

/** The registry could not be talked to: no answer, a broken connection, a stalled one. */
export class RegistryUnreachable extends EngineError {
  constructor(host: string, reason: string, cause?: unknown) {
    super('unavailable', `registry ${host}: ${reason}`, { cause });
  }
}

const KINDS: Readonly<Record<number, ErrorKind>> = {
  400: 'invalid-parameter',
  401: 'unauthorized',
  403: 'forbidden',
  404: 'not-found',
  429: 'unavailable',
  503: 'unavailable',
};

const printable = (text: string): string => text.replace(/[^\x20-\x7e\u00a0-\uffff]+/g, ' ').slice(0, 500);

const LONGEST_WAIT = 60_000;

/** Seconds or a date; garbage counts as nothing said, and no registry makes us wait longer than a minute. */
export function parseRetryAfter(header: string | undefined, now: number): number | undefined {
  if (header === undefined) return undefined;
  const wait = /^\d{1,9}$/.test(header) ? Number(header) * 1_000 : Date.parse(header) - now;
  return Number.isFinite(wait) ? Math.min(Math.max(wait, 0), LONGEST_WAIT) : undefined;
}

/** The error in an answer's body: the specification's list of errors, or the status alone when it is anything else. */
export function registryError(status: number, body: Uint8Array, retryAfter: string | undefined): RegistryError {
  let code = '';
  let message = '';
  try {
    const document = JsonReader.of(parseJson(body, 'the answer'), 'the answer');
    const first = document.children('errors')[0];
    code = first?.string('code') ?? '';
    message = first?.string('message') ?? '';
    // An older form, and what token servers answer.
    if (message === '') message = document.string('details') || document.string('message');
  } catch {
    // HTML from a proxy, or nothing.
  }
  const words = code.toLowerCase().replaceAll('_', ' ');
  // An answer to HEAD has no body, so what it means is told for it.
  const bare = status === 401 ? 'unauthorized: authentication required' : `unexpected status code ${status}`;
  const text = [words, printable(message)].filter((part) => part !== '').join(': ') || bare;
  return new RegistryError(KINDS[status] ?? 'system', text, status, code, parseRetryAfter(retryAfter, Date.now()));
}
