import { invalid } from '../contracts/errors.js';
import type { EndpointRecord, SandboxRecord } from './network-store.js';
import { formatResolvConf, type ResolvConf } from './resolv-conf.js';

export const EMBEDDED_SERVER = '127.0.0.11';

const LOOPBACK_HOSTS = [
  '127.0.0.1\tlocalhost',
  '::1\tlocalhost ip6-localhost ip6-loopback',
  'fe00::\tip6-localnet',
  'ff00::\tip6-mcastprefix',
  'ff02::1\tip6-allnodes',
  'ff02::2\tip6-allrouters',
];

/** One more line for /etc/hosts: names of a container that another one is linked to. */
export interface HostsEntry {
  readonly address: string;
  readonly names: readonly string[];
}

/** A word that may stand in /etc/hosts or resolv.conf: nothing that starts another line or another word. */
const isWord = (text: string): boolean => text !== '' && text.length <= 255 && /^[\x21-\x7e]+$/.test(text) && !text.includes('#');

/** `name:address` (or `name=address`) of `--add-host`; `host-gateway` stands for the host as the container reaches it. */
export function parseExtraHost(entry: string, hostGateway: string): HostsEntry {
  const at = entry.search(/[:=]/);
  const name = at < 0 ? '' : entry.slice(0, at);
  const given = entry.slice(at + 1).replace(/^\[(.*)\]$/, '$1');
  const address = given === 'host-gateway' ? hostGateway : given;
  if (given === 'host-gateway' && address === '') throw invalid('unable to derive the IP value for host-gateway');
  if (!isWord(name) || !isWord(address)) throw invalid(`invalid extra host: ${JSON.stringify(entry.slice(0, 128))}`);
  return { address, names: [name] };
}

/** The text of /etc/hosts. */
export function hostsFile(
  sandbox: SandboxRecord,
  endpoints: readonly EndpointRecord[],
  links: readonly HostsEntry[],
  hostGateway: string,
): string {
  const lines = [...LOOPBACK_HOSTS];
  for (const entry of sandbox.extraHosts) {
    const { address, names } = parseExtraHost(entry, hostGateway);
    lines.push(`${address}\t${names.join(' ')}`);
  }
  for (const { address, names } of links) lines.push(`${address}\t${names.filter(isWord).join(' ')}`);
  for (const { state, hostname, domainname } of endpoints) {
    if (!isWord(hostname)) continue;
    for (const address of [state.ipAddress, state.globalIpv6Address])
      if (address) lines.push(`${address}\t${isWord(domainname) ? `${hostname}.${domainname} ${hostname}` : hostname}`);
  }
  return `${lines.join('\n')}\n`;
}

/** The text of /etc/resolv.conf; `embedded` when the sandbox has the engine's own server. */
export function resolvConfFile(sandbox: SandboxRecord, host: ResolvConf, embedded: boolean): string {
  const { dns } = sandbox;
  const servers = dns.servers.length > 0 ? dns.servers : host.servers;
  // `--dns-search .` asks for no search list at all.
  const search = (dns.search.length > 0 ? dns.search : host.search).filter((word) => word !== '.' && isWord(word));
  const options = (dns.options.length > 0 ? dns.options : host.options).filter(isWord);
  if (!embedded) return formatResolvConf({ servers: servers.filter(isWord), search, options });
  // A name without a dot is a container's more often than a host's in the search domain.
  const withDots = options.some((option) => option.startsWith('ndots:')) ? options : [...options, 'ndots:0'];
  return formatResolvConf({ servers: [EMBEDDED_SERVER], search, options: withDots });
}
