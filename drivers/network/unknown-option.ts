import { type EngineError, invalid } from '@gantry/core/contracts/errors.js';
import { nearest } from '@gantry/core/contracts/nearest.js';

const lastWord = (key: string): string => key.slice(key.lastIndexOf('.') + 1);

/**
 * Of a network option that a driver does not know, with the nearest that it does. Names are compared by their last words: they begin
 * alike, and who leaves the beginning out means one of them, too.
 */
export function unknownOption(driver: string, key: string, known: readonly string[]): EngineError {
  const near = nearest(lastWord(key), known.map(lastWord));
  const hint = near === undefined ? '; there are none' : `; the nearest is ${known.find((name) => lastWord(name) === near)}`;
  return invalid(`unknown option of the ${driver} driver: ${key.slice(0, 128)}${hint}`);
}
