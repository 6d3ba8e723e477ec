import { readFile } from 'node:fs/promises';
import { EngineError, type ErrorKind } from '@gantry/core/contracts/errors.js';

/** What Docker's clients look for when a container could not be started for a fault of the user's. */
const USERS_FAULT = /executable file not found|no such file or directory|permission denied|is a directory|exec format error/i;

const kindOf = (message: string): ErrorKind => (USERS_FAULT.test(message) ? 'invalid-parameter' : 'system');

/** The message of the last error in a runtime's JSON log, or `undefined`. */
export async function lastLogged(path: string): Promise<string | undefined> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch {
    return undefined;
  }
  for (const line of text
    .slice(-64 * 1024)
    .split('\n')
    .reverse()) {
    try {
      const entry = JSON.parse(line) as { level?: unknown; msg?: unknown };
      if ((entry.level === 'error' || entry.level === 'fatal') && typeof entry.msg === 'string') return entry.msg;
    } catch {
      // The first of the lines that were kept may be cut.
    }
  }
  return undefined;
}

/**
 * A runtime's failure in the words that Docker's clients know: they tell "not found" and "not executable" apart, for their
 * own exit codes, by the text.
 */
export async function runtimeError(operation: string, log: string, printed: string): Promise<EngineError> {
  const words = (await lastLogged(log)) ?? (printed.trim() || 'the runtime said nothing');
  return new EngineError(kindOf(words), `OCI runtime ${operation} failed: ${words}: unknown`);
}
