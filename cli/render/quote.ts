const named: Record<string, string> = {
  '\n': '\\n',
  '\t': '\\t',
  '\r': '\\r',
  '\v': '\\v',
  '\f': '\\f',
  '\b': '\\b',
  '\x07': '\\a',
  '"': '\\"',
  '\\': '\\\\',
};

/** Text between double quotes the way Go's %q writes it, which is how Docker's messages and tables show it. */
export const goQuote = (text: string): string => {
  let out = '"';
  for (const char of text) {
    const code = char.codePointAt(0) as number;
    const short = named[char];
    if (short !== undefined) out += short;
    else if (code < 0x20 || code === 0x7f) out += `\\x${code.toString(16).padStart(2, '0')}`;
    else if (isUnprintable(code))
      out += code > 0xffff ? `\\U${code.toString(16).padStart(8, '0')}` : `\\u${code.toString(16).padStart(4, '0')}`;
    else out += char;
  }
  return `${out}"`;
};

const isUnprintable = (code: number): boolean =>
  (code >= 0x80 && code < 0xa1) ||
  code === 0xad ||
  (code >= 0x200b && code <= 0x200f) ||
  (code >= 0x2028 && code <= 0x202e) ||
  (code >= 0xd800 && code < 0xe000) ||
  code === 0xfeff;

/**
 * Text from outside made harmless for a terminal: control characters other than tab and line feed become visible.
 * A container's name or label is chosen by strangers and must not move the cursor or retitle the window.
 */
export const printable = (text: string): string =>
  text.replaceAll(/\p{Cc}/gu, (char) => (char === '\n' || char === '\t' ? char : `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`));
