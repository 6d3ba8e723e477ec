import { invalid } from './errors.js';

/** Bytes as users write them: `10G`, `1.5m`, `2 GiB`, a bare number. Powers of 1024. Refuses 0 and what is no size. */
export function parseSize(text: string): number {
  const match = /^(\d+(?:\.\d+)?) ?([kmgtp]?)(?:i?b)?$/i.exec(text);
  const bytes = match ? Math.floor(Number(match[1]) * 1024 ** ' kmgtp'.indexOf((match[2] || ' ').toLowerCase())) : Number.NaN;
  if (!Number.isSafeInteger(bytes) || bytes <= 0) throw invalid(`invalid size: '${text}'`);
  return bytes;
}
