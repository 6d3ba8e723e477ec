import { invalid } from '../contracts/errors.js';
import type { Platform } from '../image/images.js';
import { parseStrictJson } from './strict-json.js';

const SYSTEMS = new Set(['linux', 'windows', 'freebsd', 'darwin']);
const ARCHITECTURES: Readonly<Record<string, readonly [string, string]>> = {
  x86_64: ['amd64', ''],
  'x86-64': ['amd64', ''],
  aarch64: ['arm64', ''],
  armhf: ['arm', 'v7'],
  armel: ['arm', 'v6'],
  i386: ['386', ''],
};
const OWN = process.arch === 'x64' ? 'amd64' : process.arch;
const WORD = /^[A-Za-z0-9_.-]+$/;

/** `os[/arch[/variant]]`, or an architecture alone; '' for none. */
export function platformOfText(text: string): Platform | undefined {
  if (text === '') return undefined;
  const words = text.split('/');
  if (words.length > 3 || words.some((word) => !WORD.test(word)))
    throw invalid(`invalid platform: ${JSON.stringify(text)} is an invalid component`);
  const [first = '', second, third] = words.map((word) => word.toLowerCase());
  if (second === undefined && !SYSTEMS.has(first)) return normal('linux', first, '');
  return normal(first, second ?? OWN, third ?? '');
}

/** The same as JSON object of OCI, which some routes take; a list of them is refused. */
export function platformOfJson(text: string): Platform | undefined {
  if (text === '') return undefined;
  const given = parseStrictJson(text);
  if (given === null || typeof given !== 'object' || Array.isArray(given)) throw invalid('invalid platform: an object is expected');
  const word = (key: string): string => (typeof given[key] === 'string' ? given[key] : '');
  if (word('os') === '' || word('architecture') === '') throw invalid('invalid platform: both OS and Architecture must be provided');
  return normal(word('os').toLowerCase(), word('architecture').toLowerCase(), word('variant').toLowerCase());
}

function normal(os: string, architecture: string, variant: string): Platform {
  const [canonical, implied] = ARCHITECTURES[architecture] ?? [architecture, ''];
  return { os, architecture: canonical, variant: variant || implied };
}

export const platformText = ({ os, architecture, variant }: Platform): string =>
  [os, architecture, variant].filter((word) => word !== '').join('/');
