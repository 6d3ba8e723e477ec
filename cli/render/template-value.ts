/** How Go prints and judges values, for what JSON can hold. */

export const isTrue = (value: unknown): boolean => {
  if (value === null || value === undefined || value === false || value === 0 || value === 0n || value === '') return false;
  if (Array.isArray(value)) return value.length > 0;
  if (typeof value === 'object') return Object.keys(value).length > 0;
  return true;
};

/** What `{{x}}` writes: lists as `[a b]`, maps as `map[key:value]` with sorted keys. */
export const show = (value: unknown, within = false): string => {
  if (value === undefined) return '<no value>';
  if (value === null) return within ? '<nil>' : '<no value>';
  if (typeof value === 'string') return value;
  if (Array.isArray(value)) return `[${value.map((each) => show(each, true)).join(' ')}]`;
  if (typeof value === 'object') {
    const holder = value as Record<string, unknown>;
    const entries = Object.keys(holder)
      .sort()
      .map((key) => `${key}:${show(holder[key], true)}`);
    return `map[${entries.join(' ')}]`;
  }
  return String(value);
};

/** A member by which a value says itself what it looks like as JSON. */
export const ownJson = Symbol('json');

/** In the engine, and not yet in the types: a value that is written into JSON as it stands. */
const rawJson = (text: string): unknown => (JSON as typeof JSON & { rawJSON(text: string): unknown }).rawJSON(text);

/** JSON as Docker's `json` function writes it: compact, big integers whole, nothing escaped for HTML. */
export const toJson = (value: unknown, indent?: number): string =>
  ownJsonOf(value) ??
  JSON.stringify(value ?? null, (_, each: unknown) => (typeof each === 'bigint' ? rawJson(String(each)) : each), indent);

const ownJsonOf = (value: unknown): string | undefined =>
  typeof value === 'object' && value !== null ? (value as { [ownJson]?: () => string })[ownJson]?.() : undefined;

/** JSON.parse that keeps integers past 2^53 whole, as bigints. */
export const parseJson = (text: string): unknown =>
  /\d{16}/.test(text)
    ? JSON.parse(text, (_, value: unknown, context?: { source?: string }) =>
        typeof value === 'number' && !Number.isSafeInteger(value) && /^-?\d+$/.test(context?.source ?? '')
          ? BigInt(context?.source as string)
          : value,
      )
    : JSON.parse(text);
