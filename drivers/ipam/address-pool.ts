import { EngineError, invalid, unavailable } from '@gantry/core/contracts/errors.js';
import { formatAddress, formatRange, parseAddress, parseRange, type Range, within } from './ranges.js';

/**
 * The leases of one pool, in memory. Addresses are given out in order and the search goes on after the last one given, so
 * that an address that was just released rests for as long as the pool allows: neighbours still have its old owner in their caches.
 */
export class AddressPool {
  private readonly leased = new Set<bigint>();
  private cursor: bigint;
  /** What is given out unasked: within the sub-pool, without the network's and the broadcast address. */
  private readonly first: bigint;
  private readonly last: bigint;

  constructor(
    readonly addressSpace: string,
    readonly range: Range,
    readonly subRange: Range | undefined,
  ) {
    const lowest = this.hasReserved() ? range.first + 1n : range.first;
    const highest = this.hasReserved() && !range.v6 ? range.last - 1n : range.last;
    const chosen = subRange ?? range;
    this.first = chosen.first > lowest ? chosen.first : lowest;
    this.last = chosen.last < highest ? chosen.last : highest;
    this.cursor = this.first - 1n;
  }

  /** Follows from the content; {@link AddressPool.fromId} is the way back. */
  get id(): string {
    const parts = [this.addressSpace, formatRange(this.range)];
    if (this.subRange) parts.push(formatRange(this.subRange));
    return parts.join('/');
  }

  static fromId(id: string): AddressPool {
    const [space, base, prefix, subBase, subPrefix, ...rest] = id.split('/');
    if (!space || !base || !prefix || rest.length > 0 || (subBase !== undefined && subPrefix === undefined))
      throw invalid(`invalid pool id: ${id}`);
    return new AddressPool(
      space,
      parseRange(`${base}/${prefix}`),
      subBase === undefined ? undefined : parseRange(`${subBase}/${subPrefix}`),
    );
  }

  /** The address that the next {@link lease} should take; nothing is changed yet. */
  choose(address: string | undefined, gateway: boolean): bigint {
    if (address !== undefined && address !== '') return this.check(address);
    if (gateway) {
      const first = this.hasReserved() ? this.range.first + 1n : this.range.first;
      if (!this.leased.has(first)) return first;
    }
    const free = this.next();
    if (free === undefined) throw unavailable(`no available addresses in pool ${formatRange(this.subRange ?? this.range)}`);
    return free;
  }

  lease(value: bigint): void {
    this.leased.add(value);
  }

  /** An address that was given out unasked was taken: the search goes on after it. */
  advance(value: bigint): void {
    if (value >= this.first && value <= this.last) this.cursor = value;
  }

  release(value: bigint): boolean {
    return this.leased.delete(value);
  }

  get leases(): ReadonlySet<bigint> {
    return this.leased;
  }

  format(value: bigint): string {
    return `${formatAddress(this.range.v6, value)}/${this.range.prefix}`;
  }

  private hasReserved(): boolean {
    return this.range.prefix <= (this.range.v6 ? 126 : 30);
  }

  private check(address: string): bigint {
    const { v6, value } = parseAddress(address);
    if (v6 !== this.range.v6 || !within(this.range, value))
      throw invalid(`address ${address} does not belong to pool ${formatRange(this.range)}`);
    if (this.hasReserved() && (value === this.range.first || (!v6 && value === this.range.last)))
      throw invalid(`address ${address} is the network's or the broadcast address of ${formatRange(this.range)}`);
    if (this.leased.has(value)) throw new EngineError('forbidden', 'Address already in use');
    return value;
  }

  private next(): bigint | undefined {
    if (this.first > this.last) return undefined;
    const size = this.last - this.first + 1n;
    for (let tried = 0n, value = this.cursor; tried < size; tried++) {
      value = value >= this.last || value < this.first ? this.first : value + 1n;
      if (!this.leased.has(value)) return value;
    }
    return undefined;
  }
}
