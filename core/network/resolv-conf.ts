import { isIP } from 'node:net';

/** The parts of a resolv.conf that matter here. */
export interface ResolvConf {
  readonly servers: readonly string[];
  readonly search: readonly string[];
  readonly options: readonly string[];
}

export function parseResolvConf(text: string): ResolvConf {
  const servers: string[] = [];
  let search: string[] = [];
  const options: string[] = [];
  for (const line of text.split('\n')) {
    const [keyword, ...words] = line
      .replace(/[#;].*$/, '')
      .trim()
      .split(/\s+/);
    // An IPv6 address with a zone names a link of the host, which a container does not have.
    if (keyword === 'nameserver' && words[0] && isIP(words[0]) !== 0 && !words[0].includes('%')) servers.push(words[0]);
    if (keyword === 'search' || keyword === 'domain') search = words;
    if (keyword === 'options') options.push(...words);
  }
  return { servers, search, options };
}

export const nameServers = (text: string): readonly string[] => parseResolvConf(text).servers;

export const isLoopback = (address: string): boolean => address.startsWith('127.') || address === '::1';

export function formatResolvConf({ servers, search, options }: ResolvConf): string {
  const lines = servers.map((server) => `nameserver ${server}`);
  if (search.length > 0) lines.push(`search ${search.join(' ')}`);
  if (options.length > 0) lines.push(`options ${options.join(' ')}`);
  return `${lines.join('\n')}\n`;
}
