import { invalid } from '../contracts/errors.js';

export interface PlatformSpec {
  readonly os: string;
  readonly architecture: string;
  readonly variant: string;
}

const ARCHITECTURES: Readonly<Record<string, readonly [string, string]>> = {
  x86_64: ['amd64', ''],
  'x86-64': ['amd64', ''],
  x64: ['amd64', ''],
  i386: ['386', ''],
  ia32: ['386', ''],
  aarch64: ['arm64', ''],
  armhf: ['arm', 'v7'],
  armel: ['arm', 'v6'],
};

/** One spelling for each platform: aliases resolved, the variant that every machine of an architecture has left out. */
export function normalizePlatform(platform: PlatformSpec): PlatformSpec {
  const alias = ARCHITECTURES[platform.architecture.toLowerCase()];
  const architecture = alias?.[0] ?? platform.architecture.toLowerCase();
  let variant = (platform.variant || alias?.[1] || '').toLowerCase();
  if (/^\d+$/.test(variant)) variant = `v${variant}`;
  if (architecture === 'arm64' && variant === 'v8') variant = '';
  if (architecture === 'amd64' && variant === 'v1') variant = '';
  if (architecture === 'arm' && variant === '') variant = 'v7';
  return { os: platform.os.toLowerCase(), architecture, variant };
}

/** `os[/arch[/variant]]`, or an architecture alone. */
export function parsePlatform(text: string, host: PlatformSpec = hostPlatform()): PlatformSpec {
  const parts = text.split('/');
  if (parts.length > 3 || !parts.every((part) => /^[A-Za-z0-9_.-]+$/.test(part)))
    throw invalid(`${JSON.stringify(text)}: invalid platform: must be os[/architecture[/variant]]`);
  const [first = '', architecture, variant = ''] = parts;
  if (architecture !== undefined) return normalizePlatform({ os: first, architecture, variant });
  if (/^(linux|windows|darwin|freebsd)$/i.test(first)) return { ...host, os: first.toLowerCase() };
  return normalizePlatform({ os: host.os, architecture: first, variant: '' });
}

export const formatPlatform = (platform: PlatformSpec): string =>
  [platform.os, platform.architecture, platform.variant].filter((part) => part !== '').join('/');

export const hostPlatform = (): PlatformSpec => normalizePlatform({ os: 'linux', architecture: process.arch, variant: '' });

/** What runs where `wanted` runs, the best first: later variants run the code of earlier ones, and 64-bit ARM that of 32-bit. */
function candidates(wanted: PlatformSpec): PlatformSpec[] {
  const { os, architecture } = wanted;
  const down = (arch: string, from: number, to: number): PlatformSpec[] =>
    Array.from({ length: Math.max(0, from - to + 1) }, (_, index) =>
      normalizePlatform({ os, architecture: arch, variant: `v${from - index}` }),
    );
  const level = Number(/^v(\d+)/.exec(wanted.variant)?.[1] ?? 0);
  if (architecture === 'amd64') return down('amd64', Math.max(1, level), 1);
  if (architecture === 'arm') return down('arm', level, 5);
  if (architecture === 'arm64') return [...(level > 8 ? [wanted] : []), { os, architecture, variant: '' }, ...down('arm', 8, 5)];
  return [wanted];
}

/** How well `offered` serves who wants `wanted`: 0 is best, `undefined` not at all. */
export function platformRank(wanted: PlatformSpec, offered: PlatformSpec): number | undefined {
  const normal = normalizePlatform(offered);
  const rank = candidates(normalizePlatform(wanted)).findIndex(
    (candidate) => candidate.os === normal.os && candidate.architecture === normal.architecture && candidate.variant === normal.variant,
  );
  return rank === -1 ? undefined : rank;
}
