import { invalid, messageOf } from '@gantry/core/contracts/errors.js';
import { orNearest } from '@gantry/core/contracts/nearest.js';
import { parseSize } from '@gantry/core/contracts/size.js';

/** A driver's options as users write them. */
export const fullNames = (driver: string, names: readonly string[]): string[] => names.map((name) => `${driver}.${name}`);

/** Refuses an option that the driver does not have, naming the nearest that it does. */
export function checkOptions(driver: string, given: Readonly<Record<string, string>>, known: readonly string[]): void {
  for (const name of Object.keys(given)) {
    const bare = name.startsWith(`${driver}.`) ? name.slice(driver.length + 1) : name;
    if (known.includes(bare)) continue;
    const shown = JSON.stringify(name.slice(0, 128));
    throw invalid(`storage driver ${driver} has no option ${shown}${orNearest(`${driver}.${bare}`, fullNames(driver, known))}`);
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
