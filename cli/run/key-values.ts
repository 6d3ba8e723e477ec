import { readFileSync } from 'node:fs';

/** `-e`: a name alone takes its value from our own environment, and stays alone where there is none. */
export const environmentEntry = (text: string): string => {
  const at = text.indexOf('=');
  if (text === '' || at === 0) throw new Error(`invalid environment variable: ${text}`);
  if (at > 0) return text;
  const value = process.env[text];
  return value === undefined ? text : `${text}=${value}`;
};

export const labelEntry = (text: string): string => {
  const name = text.split('=', 1)[0] as string;
  if (name.trim() === '') throw new Error(`invalid label '${text}': empty name`);
  return text;
};

/** What the files hold, then what the flags say, so that a flag wins. */
export const readEnvironment = (files: readonly string[], entries: readonly string[]): string[] => [
  ...files.flatMap((file) => readFileEntries(file, (name) => process.env[name])),
  ...entries,
];

export const readLabels = (files: readonly string[], entries: readonly string[]): Record<string, string> =>
  pairs([...files.flatMap((file) => readFileEntries(file, () => '')), ...entries]);

/** `a=b` entries as an object; a name alone has an empty value. */
export const pairs = (entries: readonly string[]): Record<string, string> => Object.fromEntries(entries.map(pair));

const pair = (entry: string): [string, string] => {
  const at = entry.indexOf('=');
  return at < 0 ? [entry, ''] : [entry.slice(0, at), entry.slice(at + 1)];
};

const readFileEntries = (file: string, valueOf: (name: string) => string | undefined): string[] => {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: false }).decode(readFileSync(file));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') throw new Error(`open ${file}: no such file or directory`);
    if (code === 'ERR_ENCODING_INVALID_ENCODED_DATA') throw new Error(`invalid env file (${file}): invalid utf8 bytes`);
    throw error;
  }
  const entries: string[] = [];
  for (const raw of text.split('\n')) {
    const line = raw.replace(/\r$/, '').trimStart();
    if (line === '' || line.startsWith('#')) continue;
    const at = line.indexOf('=');
    const name = (at < 0 ? line : line.slice(0, at)).trimStart();
    if (/[ \t]/.test(name)) throw new Error(`invalid env file (${file}): variable '${name}' contains whitespaces`);
    if (name === '') throw new Error(`invalid env file (${file}): no variable name on line '${line}'`);
    if (at >= 0) entries.push(line);
    else {
      const value = valueOf(name);
      if (value !== undefined) entries.push(`${name}=${value}`);
    }
  }
  return entries;
};
