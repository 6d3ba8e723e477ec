let anchorWall = BigInt(Date.now()) * 1_000_000n;
let anchorMonotonic = process.hrtime.bigint();

/** Wall clock in nanoseconds since 1970. Node's own has milliseconds; the rest comes from the monotonic clock, set right when they drift apart. */
export function nowNanoseconds(): bigint {
  const milliseconds = BigInt(Date.now()) * 1_000_000n;
  const monotonic = process.hrtime.bigint();
  const estimate = anchorWall + (monotonic - anchorMonotonic);
  const drift = estimate - milliseconds;
  if (drift >= 0n && drift < 2_000_000n) return estimate;
  anchorWall = milliseconds;
  anchorMonotonic = monotonic;
  return milliseconds;
}

/** RFC 3339 in UTC with nine digits. */
export function rfc3339(nanoseconds: bigint): string {
  const seconds = nanoseconds / 1_000_000_000n;
  const fraction = (nanoseconds % 1_000_000_000n).toString().padStart(9, '0');
  return `${new Date(Number(seconds) * 1000).toISOString().slice(0, 19)}.${fraction}Z`;
}

export const now = (): string => rfc3339(nowNanoseconds());

/** Of a wall clock in milliseconds. */
export const rfc3339FromMs = (milliseconds: number): string => rfc3339(BigInt(Math.round(milliseconds * 1000)) * 1000n);

/** Nanoseconds since 1970 of a time written by {@link rfc3339} or any RFC 3339 time. */
export function parseTime(text: string): bigint {
  const match = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)$/.exec(text);
  if (!match) return 0n;
  return BigInt(Date.parse(`${match[1]}${match[3]}`)) * 1_000_000n + BigInt((match[2] ?? '').padEnd(9, '0'));
}
