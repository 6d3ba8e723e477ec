/** The kinds of errors that a container engine's clients can tell apart. */
export const errorKinds = [
  'invalid-parameter',
  'unauthorized',
  'forbidden',
  'not-found',
  'conflict',
  'not-modified',
  'not-implemented',
  'unavailable',
  'cancelled',
  'system',
] as const;

export type PluginErrorKind = (typeof errorKinds)[number];

/**
 * What a plugin refuses. Every engine shows the message; one that knows kinds also answers its client with the status that belongs
 * to the kind, where others say 500 to everything.
 */
export class PluginError extends Error {
  override readonly name = 'PluginError';
  constructor(
    readonly kind: PluginErrorKind,
    message: string,
    options?: { cause?: unknown },
  ) {
    super(message, options);
  }
}

export const notFound = (what: string, name: string): PluginError => new PluginError('not-found', `no such ${what}: ${name}`);
export const invalid = (message: string): PluginError => new PluginError('invalid-parameter', message);
export const conflict = (message: string): PluginError => new PluginError('conflict', message);

/** The kind that any thrown error carries, if it carries one. */
export function kindOf(error: unknown): PluginErrorKind {
  const kind = (error as { kind?: unknown } | undefined)?.kind;
  return errorKinds.find((known) => known === kind) ?? 'system';
}

export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** An unknown option is answered with the known one that was most likely meant. */
export function unknownOption(name: string, known: readonly string[]): PluginError {
  const near = nearest(name, known);
  return invalid(`unknown option ${JSON.stringify(name)}${near === undefined ? '' : `, did you mean ${JSON.stringify(near)}?`}`);
}

/** The closest of the known words, if any is close. */
export function nearest(word: string, known: readonly string[]): string | undefined {
  const ranked = known
    .map((candidate) => ({ candidate, distance: distance(word.toLowerCase(), candidate.toLowerCase()) }))
    .toSorted((a, b) => a.distance - b.distance);
  const [best] = ranked;
  return best && best.distance <= Math.max(1, Math.floor(best.candidate.length / 3)) ? best.candidate : undefined;
}

/** Edits (insert, delete, replace) between two words. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
