import { readFileSync } from 'node:fs';

export interface SecurityOptions {
  options: string[];
  /** Empty lists mean: mask nothing. Undefined leaves it to the engine. */
  unmasked: boolean;
}

/**
 * Reads `--security-opt`. A seccomp profile is sent as its text, because the engine may be another machine;
 * `systempaths=unconfined` becomes empty lists of masked and read-only paths.
 */
export const parseSecurity = (texts: readonly string[]): SecurityOptions => {
  const options: string[] = [];
  let unmasked = false;
  for (const text of texts) {
    const at = text.includes('=') ? text.indexOf('=') : text === 'no-new-privileges' ? -1 : text.indexOf(':');
    const key = at < 0 ? text : text.slice(0, at);
    const value = at < 0 ? '' : text.slice(at + 1);
    if (value === '' && key !== 'no-new-privileges') throw new Error(`Invalid --security-opt: ${JSON.stringify(text)}`);
    if (text === 'systempaths=unconfined') unmasked = true;
    else if (key === 'seccomp' && value !== 'builtin' && value !== 'unconfined') options.push(`seccomp=${seccompProfile(value)}`);
    else options.push(text);
  }
  return { options, unmasked };
};

const seccompProfile = (file: string): string => {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    const absent = (error as NodeJS.ErrnoException).code === 'ENOENT';
    throw new Error(
      `opening seccomp profile (${file}) failed: ${absent ? `open ${file}: no such file or directory` : (error as Error).message}`,
    );
  }
  try {
    return JSON.stringify(JSON.parse(text));
  } catch (error) {
    throw new Error(`compacting json for seccomp profile (${file}) failed: ${(error as Error).message}`);
  }
};
