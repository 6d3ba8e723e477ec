/**
 * What went wrong, in the ten kinds that a Docker client can tell apart. A kind, unlike a class,
 * survives a socket: a plugin's error and an in-tree driver's are told apart the same way.
 */
export type ErrorKind =
  | 'invalid-parameter'
  | 'unauthorized'
  | 'forbidden'
  | 'not-found'
  | 'conflict'
  | 'not-modified'
  | 'not-implemented'
  | 'unavailable'
  | 'cancelled'
  | 'system';

/** The one error class of the engine. Messages are lower case, without a full stop, and name the thing. */
export class EngineError extends Error {
  override readonly name = 'EngineError';
  constructor(
    readonly kind: ErrorKind,
    message: string,
    options?: { cause?: unknown },
  ) {
    super(message, options);
  }
}

export const notFound = (what: string, name: string, cause?: unknown): EngineError =>
  new EngineError('not-found', `no such ${what}: ${name}`, { cause });

export const invalid = (message: string, cause?: unknown): EngineError => new EngineError('invalid-parameter', message, { cause });

export const conflict = (message: string, cause?: unknown): EngineError => new EngineError('conflict', message, { cause });

export const notImplemented = (what: string): EngineError => new EngineError('not-implemented', `${what} is not implemented yet`);

export const unavailable = (message: string, cause?: unknown): EngineError => new EngineError('unavailable', message, { cause });

/** The kind of anything that was thrown; what no part of the engine chose a kind for is `system`. */
export const kindOf = (error: unknown): ErrorKind => (error instanceof EngineError ? error.kind : 'system');

export const isKind = (error: unknown, kind: ErrorKind): boolean => kindOf(error) === kind;

export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
