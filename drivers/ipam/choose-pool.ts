import { EngineError, invalid, unavailable } from '@gantry/core/contracts/errors.js';
import type { PoolRequest } from '@gantry/core/contracts/ipam.js';
import { formatRange, overlaps, parseRange, type Range, rangeAt } from './ranges.js';

/** Of the pools and routes that leave no room, in the error. */
const BLOCKERS_NAMED = 8;

/** Blocks to cut pools from, each `base` into pools of prefix length `size`. */
export interface DefaultPool {
  readonly base: Range;
  readonly size: number;
}

/** The pool that a request gets, and the part of it from which addresses are given out. `taken`: the other pools of the address space. */
export function choosePool(request: PoolRequest, taken: readonly Range[], defaults: readonly DefaultPool[]): [Range, Range | undefined] {
  if (request.pool !== undefined && request.pool !== '') {
    const range = parseRange(request.pool);
    if (range.v6 !== request.v6) throw invalid(`pool ${request.pool} is of the other address family`);
    const other = taken.find((one) => overlaps(range, one));
    if (other)
      throw new EngineError(
        'forbidden',
        `invalid pool request: Pool overlaps with other one on this address space: ${formatRange(range)} overlaps ${formatRange(other)}`,
      );
    return [range, request.subPool ? subRange(range, request.subPool) : undefined];
  }
  if (request.subPool) throw invalid('a sub-pool needs a pool');
  const avoid = request.avoid.map(parseRange);
  const blockers = new Set<string>();
  for (const { base, size } of defaults) {
    if (base.v6 !== request.v6) continue;
    const step = 1n << BigInt((base.v6 ? 128 : 32) - size);
    for (let first = base.first; first <= base.last; first += step) {
      const range = rangeAt(base.v6, first, size);
      const blocker = [...taken, ...avoid].find((other) => overlaps(range, other));
      if (!blocker) return [range, undefined];
      blockers.add(formatRange(blocker));
      // A block larger than the candidate covers many of them: goes on behind it.
      if (blocker.last > range.last) first = rangeAt(base.v6, blocker.last, size).first;
    }
  }
  const named = [...blockers].slice(0, BLOCKERS_NAMED).join(', ') + (blockers.size > BLOCKERS_NAMED ? ' and more' : '');
  throw unavailable(`all predefined address pools have been fully subnetted${named ? `: in the way are ${named}` : ''}`);
}

function subRange(range: Range, text: string): Range {
  const sub = parseRange(text);
  if (sub.v6 !== range.v6 || sub.first < range.first || sub.last > range.last)
    throw invalid(`sub-pool ${text} is not within pool ${formatRange(range)}`);
  return sub;
}
