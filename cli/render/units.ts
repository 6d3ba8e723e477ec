/** Sizes, durations and times in the words and digits of Docker's clients, so that scripts that read them keep working. */

const decimal = ['B', 'kB', 'MB', 'GB', 'TB', 'PB', 'EB', 'ZB', 'YB'];
const binary = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB', 'ZiB', 'YiB'];

const scale = (bytes: number, base: number, names: readonly string[], precision: number): string => {
  let amount = bytes;
  let step = 0;
  while (amount >= base && step < names.length - 1) {
    amount /= base;
    step++;
  }
  return significant(amount, precision) + (names[step] as string);
};

/** 1.23MB: powers of ten, four significant digits (three in image lists). */
export const humanSize = (bytes: number, precision = 4): string => scale(bytes, 1000, decimal, precision);

/** 1.23MiB: powers of two, four significant digits. */
export const binarySize = (bytes: number): string => scale(bytes, 1024, binary, 4);

/** C's %.{precision}g: that many significant digits, no trailing zeros, an exponent where it would be long. */
export const significant = (value: number, precision: number): string => {
  if (value === 0 || !Number.isFinite(value)) return value === 0 ? '0' : value > 0 ? '+Inf' : value < 0 ? '-Inf' : 'NaN';
  const [mantissa, exponent] = value.toExponential(precision - 1).split('e') as [string, string];
  const power = Number(exponent);
  const trim = (digits: string): string => (digits.includes('.') ? digits.replace(/\.?0+$/, '') : digits);
  if (power < -4 || power >= precision) return `${trim(mantissa)}e${power < 0 ? '-' : '+'}${String(Math.abs(power)).padStart(2, '0')}`;
  return trim(value.toFixed(Math.max(0, precision - 1 - power)));
};

/** How long, in words that get coarser with length: `5 seconds`, `About an hour`, `3 weeks`. */
export const humanDuration = (milliseconds: number): string => {
  const seconds = Math.trunc(milliseconds / 1000);
  if (seconds < 1) return 'Less than a second';
  if (seconds === 1) return '1 second';
  if (seconds < 60) return `${seconds} seconds`;
  const minutes = Math.trunc(seconds / 60);
  if (minutes === 1) return 'About a minute';
  if (minutes < 60) return `${minutes} minutes`;
  const hours = Math.trunc(milliseconds / 3_600_000 + 0.5);
  if (hours === 1) return 'About an hour';
  if (hours < 48) return `${hours} hours`;
  if (hours < 24 * 14) return `${Math.trunc(hours / 24)} days`;
  if (hours < 24 * 60) return `${Math.trunc(hours / 24 / 7)} weeks`;
  if (hours < 24 * 365 * 2) return `${Math.trunc(hours / 24 / 30)} months`;
  return `${Math.trunc(milliseconds / 3_600_000 / 24 / 365)} years`;
};

/** `5 minutes ago`, as the CREATED columns say it. */
export const ago = (unixSeconds: number): string => `${humanDuration(Date.now() - unixSeconds * 1000)} ago`;

const two = (value: number): string => String(value).padStart(2, '0');

/** The local zone's offset as `+0100`; `colon` gives `+01:00`. */
const offset = (date: Date, colon = false): string => {
  const minutes = -date.getTimezoneOffset();
  const size = Math.abs(minutes);
  return `${minutes < 0 ? '-' : '+'}${two(Math.trunc(size / 60))}${colon ? ':' : ''}${two(size % 60)}`;
};

const localDate = (date: Date): string => `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
const localTime = (date: Date): string => `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;

const zoneName = (date: Date): string => {
  if ((process.env['TZ'] ?? '') === 'UTC') return 'UTC';
  const part =
    new Intl.DateTimeFormat('en-GB', { timeZoneName: 'short' }).formatToParts(date).find((each) => each.type === 'timeZoneName')?.value ??
    'UTC';
  // What has no letters of its own is shown by Go as its offset.
  return /^(GMT|UTC)[+-]/.test(part) ? offset(date).replace(/00$/, '') : part;
};

/** `2026-11-20 23:10:01 +0000 UTC`, in local time. */
export const localStamp = (unixSeconds: number): string => {
  const date = new Date(unixSeconds * 1000);
  return `${localDate(date)} ${localTime(date)} ${offset(date)} ${zoneName(date)}`;
};

/** RFC 3339 in local time, whole seconds. */
export const rfc3339Local = (date: Date): string => {
  const zone = offset(date, true);
  return `${localDate(date)}T${localTime(date)}${zone === '+00:00' ? 'Z' : zone}`;
};

/** RFC 3339 in local time with always nine digits of the second, from nanoseconds in a bigint. */
export const rfc3339NanoLocal = (nanoseconds: bigint): string => {
  const date = new Date(Number(nanoseconds / 1_000_000n));
  const fraction = String(nanoseconds % 1_000_000_000n).padStart(9, '0');
  return `${localDate(date)}T${localTime(date)}.${fraction}${offset(date, true)}`.replace(
    '+00:00',
    offset(date) === '+0000' ? 'Z' : '+00:00',
  );
};

/** The first twelve digits of an id, without the name of its digest algorithm. */
export const shortId = (id: string): string => id.slice(id.indexOf(':') + 1).slice(0, 12);

const wide = /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|[\u{1f300}-\u{1faff}]/u;

/** Cut to `width` columns with an ellipsis for what is lost; East Asian characters take two. */
export const ellipsis = (text: string, width: number): string => {
  let used = 0;
  for (const char of text) used += wide.test(char) ? 2 : 1;
  if (used <= width) return text;
  if (width <= 1) return [...text].slice(0, width).join('');
  let kept = '';
  let room = width - 1;
  for (const char of text) {
    room -= wide.test(char) ? 2 : 1;
    if (room < 0) break;
    kept += char;
  }
  return `${kept}…`;
};

/** An RFC 3339 time as Go prints one that was read from text: `2026-11-20 23:09:31.84718122 +0000 UTC`. */
export const goTime = (text: string): string => {
  const match = /^(\d{4}-\d{2}-\d{2})T(\d{2}:\d{2}:\d{2})(?:\.(\d+))?(Z|[+-]\d{2}:\d{2})$/.exec(text);
  if (!match) return text;
  const fraction = (match[3] ?? '').replace(/0+$/, '');
  const zone = match[4] === 'Z' ? '+0000 UTC' : `${(match[4] as string).replace(':', '')} ${(match[4] as string).replace(':', '')}`;
  return `${match[1]} ${match[2]}${fraction === '' ? '' : `.${fraction}`} ${zone}`;
};
