import { EngineError, messageOf } from '../contracts/errors.js';

/** What a failed start is recorded and answered as. */
export interface StartFailure {
  readonly exitCode: number;
  readonly error: EngineError;
}

const PREFIX = 'failed to create task for container: ';

/**
 * Docker's reading of a runtime's words. Clients make 127 and 126 of the same phrases, so the text has to come through whole;
 * a program that is missing or cannot be executed is the request's fault (400), the rest is the engine's.
 */
export function readRuntimeError(cause: unknown): StartFailure {
  if (cause instanceof EngineError && cause.kind !== 'system' && cause.kind !== 'invalid-parameter') {
    return { exitCode: 128, error: cause };
  }
  const text = messageOf(cause);
  const message = text.startsWith(PREFIX) ? text : PREFIX + text;
  const lower = text.toLowerCase();
  if (lower.includes('permission denied') || lower.includes('is a directory')) {
    return { exitCode: 126, error: new EngineError('invalid-parameter', message, { cause }) };
  }
  if (lower.includes('not a directory')) {
    const hint =
      'Are you trying to mount a directory onto a file (or vice-versa)? Check if the specified host path exists and is the expected type';
    return { exitCode: 127, error: new EngineError('invalid-parameter', `${message}: ${hint}`, { cause }) };
  }
  if (lower.includes('executable file not found') || lower.includes('no such file or directory')) {
    return { exitCode: 127, error: new EngineError('invalid-parameter', message, { cause }) };
  }
  return { exitCode: 128, error: new EngineError('system', message, { cause }) };
}
