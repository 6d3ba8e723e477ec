import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { invalid, unavailable } from '@gantry/core/contracts/errors.js';
import { orNearest } from '@gantry/core/contracts/nearest.js';
import type { Mount } from '@gantry/core/contracts/mount.js';

export type Options = Readonly<Record<string, string>>;

const KNOWN = ['type', 'o', 'device', 'size'] as const;

/** Throws for what cannot mean anything, before anything is made. */
export function checkOptions(options: Options): void {
  for (const [key, value] of Object.entries(options)) {
    if (!(KNOWN as readonly string[]).includes(key)) throw invalid(`invalid option: "${key.slice(0, 128)}"${orNearest(key, KNOWN)}`);
    if (value.includes('\0')) throw invalid(`invalid option: "${key}" has a zero byte`);
  }
  const { type = '', device = '', o = '', size } = options;
  if (size !== undefined) parseSize(size);
  if (Object.keys(options).every((key) => key === 'size')) return;
  if (size !== undefined) throw invalid('invalid option: "size" is for a volume in a folder of its own, and this one mounts something');
  // A type is needed for a new file system; a bind or remount takes none.
  if (type === '' && !isBind(o)) throw invalid('missing required option: "type"');
  if (device === '') throw invalid('missing required option: "device"');
}

/** `10G`, `1.5m`, bytes. */
export function parseSize(text: string): number {
  const match = /^(\d+(?:\.\d+)?) ?([kmgtp]?)(?:i?b)?$/i.exec(text);
  const bytes = match ? Math.floor(Number(match[1]) * 1024 ** ' kmgtp'.indexOf((match[2] || ' ').toLowerCase())) : Number.NaN;
  if (!Number.isSafeInteger(bytes) || bytes <= 0) throw invalid(`invalid size: '${text}'`);
  return bytes;
}

const isBind = (o: string): boolean => /(?:^|,)r?bind(?:,|$)/.test(o);

/** Gives one address for a host name. */
export type Resolve = (name: string) => Promise<string>;

const resolveName: Resolve = async (name) => (await lookup(name)).address;

/** What the options ask to be mounted; nothing for a plain folder. Names of servers become addresses at each mount, for the kernel resolves none. */
export async function mountOf(options: Options, resolve: Resolve = resolveName): Promise<Mount | undefined> {
  const { type = '', device = '', o = '' } = options;
  if (device === '') return undefined;
  const words = o === '' ? [] : o.split(',');
  const bind = words.find((word) => word === 'bind' || word === 'rbind');
  const rest = words.filter((word) => word !== 'bind' && word !== 'rbind' && word !== 'defaults');
  if (bind) return { type: 'bind', source: device, options: [bind, ...rest] };
  if (/^nfs4?$/.test(type)) return { type, source: device, options: await withAddress(rest, resolve) };
  if (type === 'cifs' || type === 'smb3') {
    const server = /^(?:\/\/|\\\\)([^/\\]+)/.exec(device)?.[1] ?? '';
    const addressed = await withAddress(rest, resolve);
    // mount.cifs would tell the kernel where the server is; nobody runs it here.
    if (server === '' || addressed.some((word) => /^(?:addr|ip)=/.test(word))) return { type, source: device, options: addressed };
    return { type, source: device, options: [...addressed, `ip=${await addressOf(server, resolve)}`] };
  }
  return { type: type === 'none' ? 'bind' : type, source: device, options: rest };
}

async function withAddress(words: readonly string[], resolve: Resolve): Promise<string[]> {
  return Promise.all(
    words.map(async (word) => (word.startsWith('addr=') ? `addr=${await addressOf(word.slice('addr='.length), resolve)}` : word)),
  );
}

async function addressOf(name: string, resolve: Resolve): Promise<string> {
  if (name === '' || isIP(name) !== 0) return name;
  return resolve(name).catch((error: unknown) => {
    throw unavailable(`the address of ${name} is not known`, error);
  });
}

/** Secrets of a mount's options as `***`, for messages. */
export const withoutSecrets = (words: readonly string[]): string =>
  words.map((word) => word.replace(/^(pass|password|credentials|cred)=.*$/i, '$1=***')).join(',');
