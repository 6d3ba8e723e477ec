import { invalid, messageOf } from '@gantry/core/contracts/errors.js';
import { parseSize } from '@gantry/core/contracts/size.js';

/** Edits (insert, remove, replace) that turn one word into the other. */
function distance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, column) => column);
  for (let line = 1; line <= from.length; line++) {
    const next = [line];
    for (let column = 1; column <= to.length; column++) {
      const replaced = (row[column - 1] ?? 0) + (from[line - 1] === to[column - 1] ? 0 : 1);
      next.push(Math.min(replaced, (row[column] ?? 0) + 1, (next[column - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[to.length] ?? 0;
}

/** Refuses an option that the driver does not have, naming the nearest that it does. */
export function checkOptions(driver: string, given: Readonly<Record<string, string>>, known: readonly string[]): void {
  for (const name of Object.keys(given)) {
    const bare = name.startsWith(`${driver}.`) ? name.slice(driver.length + 1) : name;
    if (known.includes(bare)) continue;
    const [nearest] = known.toSorted((a, b) => distance(bare, a) - distance(bare, b));
    const hint = nearest === undefined ? 'it has none' : `the nearest is ${driver}.${nearest}`;
    throw invalid(`storage driver ${driver} has no option ${JSON.stringify(name)}; ${hint}`);
  }
}

/** An option in bytes, given as `DRIVER.NAME` or as `NAME`. */
export function sizeOption(driver: string, given: Readonly<Record<string, string>>, name: string): number | undefined {
  const text = given[`${driver}.${name}`] ?? given[name];
  if (text === undefined) return undefined;
  try {
    return parseSize(text);
  } catch (error) {
    throw invalid(`storage option ${driver}.${name}: ${messageOf(error)}`, error);
  }
}
