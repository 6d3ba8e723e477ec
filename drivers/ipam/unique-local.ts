import { randomBytes } from 'node:crypto';

/** A unique local /48, at random as RFC 4193 wants it: two networks that are joined one day should not have chosen the same. */
export function drawUniqueLocal(): string {
  const [first, second, third] = randomBytes(6).toString('hex').match(/.{4}/g) ?? [];
  return `fd${first?.slice(2)}:${second}:${third}::/48`;
}
