/** Longer words are nobody's slip of the finger, and comparing them costs the square of their length. */
const LONGEST = 64;

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

/** The known word that takes the fewest edits to come from `word`, whatever its case; nothing when none is known. */
export function nearest(word: string, known: readonly string[]): string | undefined {
  const given = word.slice(0, LONGEST).toLowerCase();
  const apart = new Map(known.map((candidate) => [candidate, distance(given, candidate.slice(0, LONGEST).toLowerCase())]));
  return known.toSorted((a, b) => (apart.get(a) ?? 0) - (apart.get(b) ?? 0))[0];
}

/** For the end of a message about an option that does not exist: `; the nearest is X`. */
export function orNearest(word: string, known: readonly string[]): string {
  const found = nearest(word, known);
  return found === undefined ? '; there are none' : `; the nearest is ${found}`;
}
