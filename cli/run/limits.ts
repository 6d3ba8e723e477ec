import type { RestartPolicy, Ulimit } from './body.js';

const streams = new Set(['stdin', 'stdout', 'stderr']);

export const attachStream = (text: string): string => {
  const name = text.toLowerCase();
  if (!streams.has(name)) throw new Error('valid streams are STDIN, STDOUT and STDERR');
  return name;
};

/** `1.5` or `3/2` as billionths of a CPU, exactly. */
export const parseCpus = (text: string): number => {
  const bad = new Error(`failed to parse ${text} as a rational number`);
  const match = /^([+-]?)(\d+)?(?:\.(\d*))?(?:[eE]([+-]?\d{1,3}))?(?:\/(\d+))?$/.exec(text);
  if (!match || (match[2] === undefined && !match[3]) || (match[5] !== undefined && (match[3] !== undefined || match[4] !== undefined)))
    throw bad;
  const fraction = match[3] ?? '';
  const divisor = BigInt(match[5] ?? 1);
  if (divisor === 0n) throw bad;
  const power = Number(match[4] ?? 0) - fraction.length + 9;
  let top = BigInt(`${match[2] ?? ''}${fraction}`);
  let bottom = divisor;
  if (power >= 0) top *= 10n ** BigInt(power);
  else bottom *= 10n ** BigInt(-power);
  if (top % bottom !== 0n) throw new Error('value is too precise');
  return Number(top / bottom) * (match[1] === '-' ? -1 : 1);
};

const ulimitNames = new Set([
  'core',
  'cpu',
  'data',
  'fsize',
  'locks',
  'memlock',
  'msgqueue',
  'nice',
  'nofile',
  'nproc',
  'rss',
  'rtprio',
  'rttime',
  'sigpending',
  'stack',
]);

/** `nofile=1024:2048`; without a hard limit it is the soft one. */
export const parseUlimit = (text: string): Record<string, Ulimit> => {
  const at = text.indexOf('=');
  if (at < 0) throw new Error(`invalid ulimit argument: ${text}`);
  const name = text.slice(0, at);
  const limits = text.slice(at + 1).split(':');
  if (!ulimitNames.has(name)) throw new Error(`invalid ulimit type: ${name}`);
  if (limits.length > 2)
    throw new Error(`too many limit value arguments - ${text.slice(at + 1)}, can only have up to two, \`soft[:hard]\``);
  const [soft, hard = soft] = limits.map((limit) => {
    if (!/^[+-]?\d+$/.test(limit)) throw new Error(`strconv.ParseInt: parsing ${JSON.stringify(limit)}: invalid syntax`);
    return Number(limit);
  }) as [number, number?];
  if (hard !== -1 && (soft === -1 || soft > hard)) {
    throw new Error(
      soft === -1
        ? `ulimit soft limit must be less than or equal to hard limit: soft: -1 (unlimited), hard: ${hard}`
        : `ulimit soft limit must be less than or equal to hard limit: ${soft} > ${hard}`,
    );
  }
  return { [name]: { Name: name, Hard: hard, Soft: soft } };
};

/** `on-failure:3` */
export const parseRestartPolicy = (text: string): RestartPolicy => {
  const at = text.indexOf(':');
  const name = at < 0 ? text : text.slice(0, at);
  const count = at < 0 ? '' : text.slice(at + 1);
  if (at >= 0 && name === '') throw new Error('invalid restart policy format: no policy provided before colon');
  if (count !== '' && !/^[+-]?\d+$/.test(count)) throw new Error('invalid restart policy format: maximum retry count must be an integer');
  return { Name: name, MaximumRetryCount: Number(count) };
};

/** `net_admin` as `CAP_NET_ADMIN`, and ALL as it is. */
export const capability = (text: string): string => {
  const name = text.trim().toUpperCase();
  return name === 'ALL' || name.startsWith('CAP_') ? name : `CAP_${name}`;
};

const ownSysctls = new Set([
  'kernel.msgmax',
  'kernel.msgmnb',
  'kernel.msgmni',
  'kernel.sem',
  'kernel.shmall',
  'kernel.shmmax',
  'kernel.shmmni',
  'kernel.shm_rmid_forced',
]);

/** Only those that a container has for itself: others would change the host. */
export const sysctlEntry = (text: string): string => {
  const name = text.split('=', 1)[0] as string;
  const own = text.includes('=') && (ownSysctls.has(name) || name.startsWith('net.') || name.startsWith('fs.mqueue.'));
  if (!own) throw new Error(`sysctl '${text}' is not allowed`);
  return text;
};
