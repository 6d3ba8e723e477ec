import { constants } from 'node:os';
import { invalid } from '../contracts/errors.js';

/** Real-time signals have no names in Node; the C library keeps the first two for itself. */
const RTMIN = 34;
const RTMAX = 64;

/** A signal by number or by name, with or without SIG, in any case; `RTMIN+n` and `RTMAX-n` too. */
export function parseSignal(text: string): number {
  if (/^\d+$/.test(text)) {
    const number = Number(text);
    if (number >= 1 && number <= RTMAX) return number;
    throw invalid(`Invalid signal: ${text}`);
  }
  const name = text.toUpperCase().replace(/^SIG/, '');
  const realTime = /^RT(MIN|MAX)([+-]\d+)?$/.exec(name);
  if (realTime) {
    const number = (realTime[1] === 'MIN' ? RTMIN : RTMAX) + Number(realTime[2] ?? 0);
    if (number >= RTMIN && number <= RTMAX) return number;
  }
  const number = constants.signals[`SIG${name}` as NodeJS.Signals];
  if (number === undefined) throw invalid(`Invalid signal: ${text}`);
  return number;
}

export const SIGKILL = constants.signals.SIGKILL;
export const SIGTERM = constants.signals.SIGTERM;
export const SIGCONT = constants.signals.SIGCONT;
