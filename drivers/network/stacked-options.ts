import { invalid } from '@gantry/core/contracts/errors.js';
import { orNearest } from '@gantry/core/contracts/nearest.js';

const MTU = 'com.docker.network.driver.mtu';

/**
 * Reads a stacked network's options. `words`: the driver's own options, each with the values it may have, the first by default.
 */
export function parseStacked<const Words extends Readonly<Record<string, readonly [string, ...string[]]>>>(
  driver: string,
  words: Words,
  options: Readonly<Record<string, string>>,
): { parent: string; mtu: number; words: { [K in keyof Words]: Words[K][number] } } {
  let parent = '';
  let mtu = 0;
  const chosen: Record<string, string> = Object.fromEntries(Object.entries(words).map(([key, [first]]) => [key, first]));
  for (const [key, value] of Object.entries(options)) {
    const values = Object.hasOwn(words, key) ? words[key] : undefined;
    if (key === 'parent') parent = value;
    else if (key === MTU) mtu = parseMtu(value);
    else if (values !== undefined) {
      // Clients write options that they leave alone as ''.
      if (value !== '' && !values.includes(value))
        throw invalid(`invalid ${key}: ${JSON.stringify(value.slice(0, 64))} (it is one of ${values.join(', ')})`);
      if (value !== '') chosen[key] = value;
    } else if (!key.startsWith('com.docker.'))
      throw invalid(
        `unknown option of the ${driver} driver: ${key.slice(0, 128)}${orNearest(key, ['parent', MTU, ...Object.keys(words)])}`,
      );
  }
  return { parent, mtu, words: chosen as { [K in keyof Words]: Words[K][number] } };
}

function parseMtu(value: string): number {
  const mtu = Number(value);
  if (!/^\d{1,5}$/.test(value) || (mtu !== 0 && (mtu < 68 || mtu > 65535)))
    throw invalid(`invalid mtu: ${JSON.stringify(value.slice(0, 64))}`);
  return mtu;
}
