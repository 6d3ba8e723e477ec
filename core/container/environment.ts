export const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/**
 * The environment of a process, in Docker's order: defaults first, overridden in their place, then the rest as given.
 * `KEY` alone takes a variable away. The daemon's own environment is never looked at.
 */
export function environmentOf(options: {
  readonly hostname: string;
  readonly terminal: boolean;
  readonly config: readonly string[];
  /** An exec's own. */
  readonly extra: readonly string[];
  readonly home: string;
}): string[] {
  const result = new Map<string, string>();
  const set = (entry: string): void => {
    const separator = entry.indexOf('=');
    if (separator > 0) result.set(entry.slice(0, separator), entry);
    else if (separator < 0) result.delete(entry);
  };
  set(`PATH=${DEFAULT_PATH}`);
  set(`HOSTNAME=${options.hostname}`);
  if (options.terminal) set('TERM=xterm');
  for (const entry of options.config) set(entry);
  for (const entry of options.extra) set(entry);
  // An empty one counts as unset, as for a runtime that fills it in.
  if ((result.get('HOME') ?? 'HOME=') === 'HOME=') result.set('HOME', `HOME=${options.home}`);
  return [...result.values()];
}
