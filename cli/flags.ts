import type { OptionFlag } from '@oclif/core/interfaces';
import { goQuote } from './render/quote.js';
import { parseBytes, parseDuration, parseInteger } from './render/parse.js';

/**
 * A flag as oclif lists it, plus what Docker's command line grammar needs: a value that exists without the flag, and a
 * synchronous setter that sees the value so far (repeatable flags add to it) and throws what is wrong with the text.
 */
export interface Flag<T> extends Omit<OptionFlag<unknown>, 'default' | 'defaultHelp'> {
  /** True for a switch, which takes no separate argument: `--rm` or `--rm=false`. */
  readonly isSwitch: boolean;
  readonly initial: T;
  /** What help shows as the default, empty for none. */
  readonly shownDefault: string;
  set(text: string, soFar: T): T;
}

export type FlagTable = Record<string, Flag<unknown>>;
export type FlagValues<F> = { [K in keyof F]: F[K] extends Flag<infer T> ? T : never };

type Options = { char?: Letter; description: string; hidden?: boolean; help?: string };
type Letter = NonNullable<OptionFlag<string>['char']>;

const make = <T>(kind: string, initial: T, set: Flag<T>['set'], options: Options, isSwitch = false): Flag<T> => ({
  name: '',
  type: 'option',
  input: [],
  parse: async (text) => set(text, initial),
  isSwitch,
  initial,
  set,
  shownDefault: options.help ?? '',
  helpValue: kind,
  description: options.description,
  hidden: options.hidden ?? false,
  ...(options.char === undefined ? {} : { char: options.char }),
});

const truths = new Map<string, boolean>([
  ...['1', 't', 'T', 'TRUE', 'true', 'True'].map((word) => [word, true] as const),
  ...['0', 'f', 'F', 'FALSE', 'false', 'False'].map((word) => [word, false] as const),
]);

const truth = (text: string): boolean => {
  const value = truths.get(text);
  if (value === undefined) throw new Error(`strconv.ParseBool: parsing ${goQuote(text)}: invalid syntax`);
  return value;
};

export const flag = {
  boolean: (options: Options & { initial?: boolean }): Flag<boolean> =>
    make<boolean>('', options.initial ?? false, truth, { help: options.initial ? 'true' : '', ...options }, true),

  string: (options: Options & { initial?: string }): Flag<string> =>
    make<string>('string', options.initial ?? '', (text) => text, { help: options.initial ? goQuote(options.initial) : '', ...options }),

  /** Repeatable; every use adds one value, which `check` may refuse or rewrite. */
  list: (options: Options & { kind?: string; check?: (text: string) => string }): Flag<string[]> =>
    make<string[]>(options.kind ?? 'list', [], (text, soFar) => [...soFar, options.check ? options.check(text) : text], options),

  /** Repeatable, and one use may hold several values with commas between them. */
  commaList: (options: Options): Flag<string[]> =>
    make<string[]>('strings', [], (text, soFar) => [...soFar, ...(text === '' ? [] : text.split(','))], options),

  /** `key=value`, repeatable; the last use of a key wins. */
  map: (options: Options & { check?: (text: string) => string }): Flag<Record<string, string>> =>
    make<Record<string, string>>(
      'map',
      {},
      (text, soFar) => ({ ...soFar, ...keyValue(options.check ? options.check(text) : text) }),
      options,
    ),

  integer: (options: Options & { initial?: number; bits?: number; unsigned?: boolean; kind?: string }): Flag<number> =>
    make<number>(
      options.kind ?? (options.unsigned ? 'uint' : 'int'),
      options.initial ?? 0,
      (text) => parseInteger(text, options.bits ?? 64, options.unsigned ?? false),
      { help: options.initial ? String(options.initial) : '', ...options },
    ),

  /** A size such as `512m`; `-1` is let through where Docker gives it a meaning. */
  bytes: (options: Options & { minusOne?: boolean }): Flag<number> =>
    make<number>('bytes', 0, (text) => (options.minusOne && text === '-1' ? -1 : parseBytes(text)), options),

  /** In nanoseconds. */
  duration: (options: Options): Flag<number> => make<number>('duration', 0, (text) => parseDuration(text), { help: '0s', ...options }),

  /** Anything else: the kind is the word that help shows for the value. */
  custom: <T>(kind: string, initial: T, set: (text: string, soFar: T) => T, options: Options): Flag<T> =>
    make<T>(kind, initial, set, options),

  /** `key=value` conditions; Docker lower-cases the key and trims both sides. */
  filter: (options: Options): Flag<[string, string][]> =>
    make<[string, string][]>(
      'filter',
      [],
      (text, soFar) => {
        if (text === '') return soFar;
        const at = text.indexOf('=');
        if (at < 0) throw new Error('bad format of filter (expected name=value)');
        const key = text.slice(0, at).trim().toLowerCase();
        return [...soFar, [key, text.slice(at + 1).trim()]];
      },
      options,
    ),
};

const keyValue = (text: string): Record<string, string> => {
  const at = text.indexOf('=');
  return at < 0 ? { [text]: '' } : { [text.slice(0, at)]: text.slice(at + 1) };
};

/** A mistake in the command line. Shown with the usage line; the exit code is Docker's. */
export class UsageError extends Error {
  constructor(
    message: string,
    readonly exitCode: number,
  ) {
    super(message);
  }
}

export interface Parsed<F> {
  flags: FlagValues<F>;
  args: string[];
  /** Names of the flags that were given, whatever their value. */
  given: Set<string>;
  help: boolean;
}

/**
 * Reads a command line in Docker's grammar: `--name value`, `--name=value`, `-abc`, `-p80:80`, `--switch=false`, `--`.
 * With `interspersed` false the first argument ends the flags, so that those of a container's command are left alone.
 */
export const parseFlags = <F extends FlagTable>(argv: readonly string[], table: F, interspersed = true): Parsed<F> => {
  const values: Record<string, unknown> = {};
  const letters = new Map<string, string>();
  for (const [name, definition] of Object.entries(table)) {
    values[name] = definition.initial;
    if (definition.char) letters.set(definition.char, name);
  }
  const args: string[] = [];
  const given = new Set<string>();
  let help = false;

  const set = (name: string, text: string): void => {
    const definition = table[name];
    if (!definition) throw new UsageError(`unknown flag: --${name}`, 125);
    try {
      values[name] = definition.set(text, values[name]);
    } catch (error) {
      const label = definition.char ? `-${definition.char}, --${name}` : `--${name}`;
      throw new UsageError(`invalid argument ${goQuote(text)} for ${goQuote(label)} flag: ${(error as Error).message}`, 125);
    }
    given.add(name);
  };

  for (let at = 0; at < argv.length; at++) {
    const word = argv[at] as string;
    if (word === '--') {
      args.push(...argv.slice(at + 1));
      break;
    }
    if (word.length < 2 || word[0] !== '-') {
      if (!interspersed) {
        args.push(...argv.slice(at));
        break;
      }
      args.push(word);
      continue;
    }
    if (word.startsWith('--')) {
      const [name, inline] = cut(word.slice(2));
      if (name === '' || name.startsWith('-')) throw new UsageError(`bad flag syntax: ${word}`, 125);
      const definition = table[name];
      if (!definition) {
        if (name !== 'help') throw new UsageError(`unknown flag: --${name}`, 125);
        help = true;
        continue;
      }
      if (inline !== undefined) set(name, inline);
      else if (definition.isSwitch) set(name, 'true');
      else if (at + 1 < argv.length) set(name, argv[++at] as string);
      else throw new UsageError(`flag needs an argument: ${word}`, 125);
      continue;
    }
    for (let letter = 1; letter < word.length; letter++) {
      const name = letters.get(word[letter] as string);
      if (name === undefined) {
        if (word[letter] !== 'h') throw new UsageError(`unknown shorthand flag: '${word[letter]}' in -${word.slice(letter)}`, 125);
        help = true;
        continue;
      }
      const rest = word.slice(letter + 1);
      if (rest.startsWith('=')) set(name, rest.slice(1));
      else if (table[name]?.isSwitch) {
        set(name, 'true');
        continue;
      } else if (rest !== '') set(name, rest);
      else if (at + 1 < argv.length) set(name, argv[++at] as string);
      else throw new UsageError(`flag needs an argument: '${word[letter]}' in -${word.slice(letter)}`, 125);
      break;
    }
  }
  return { flags: values as FlagValues<F>, args, given, help };
};

const cut = (word: string): [string, string | undefined] => {
  const at = word.indexOf('=');
  return at < 0 ? [word, undefined] : [word.slice(0, at), word.slice(at + 1)];
};
