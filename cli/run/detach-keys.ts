/** The bytes that a key in the form of `--detach-keys` sends. */
const keyByte = (name: string): number => {
  if (name.length === 1) return name.charCodeAt(0);
  const match = /^ctrl-([a-z@[\]\\^_])$/i.exec(name);
  if (!match) throw new Error(`unknown character: '${name}'`);
  return (match[1] as string).toUpperCase().charCodeAt(0) & 0x1f;
};

export const defaultDetachKeys = 'ctrl-p,ctrl-q';

/** @throws Error where the text names no keys */
export const parseDetachKeys = (text: string): number[] => (text || defaultDetachKeys).split(',').map(keyByte);

/** Looks for the keys in what is typed, in whatever pieces it comes. */
export const keyWatcher = (text: string): { saw: (data: Buffer) => void; matched: () => boolean } => {
  const keys = parseDetachKeys(text);
  let at = 0;
  return {
    saw: (data) => {
      for (const byte of data) {
        if (at === keys.length) return;
        if (byte === keys[at]) at++;
        else at = byte === keys[0] ? 1 : 0;
      }
    },
    matched: () => at === keys.length,
  };
};
