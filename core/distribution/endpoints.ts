import { readdir, readFile } from 'node:fs/promises';
import { lookup } from 'node:dns/promises';
import { isIP, BlockList } from 'node:net';
import { join } from 'node:path';
import { getCACertificates } from 'node:tls';
import { EngineError, invalid } from '../contracts/errors.js';
import { DEFAULT_DOMAIN } from '../content/reference.js';
import type { Settings } from '../system/settings.js';

/** How a host proves who it is, and we to it. */
export interface TlsSettings {
  readonly verify: boolean;
  readonly ca: readonly string[] | undefined;
  readonly cert: string | undefined;
  readonly key: string | undefined;
}

/** One address under which a registry may be reached. */
export interface Endpoint {
  /** `https://host[:port]`. */
  readonly origin: string;
  readonly tls: TlsSettings;
  /** A mirror gets no credentials, and any failure of it leads to the next endpoint. */
  readonly mirror: boolean;
}

const HUB = 'registry-1.docker.io';

/** This machine, by an address or by the name that means nothing else: a name is not what its first digits look like. */
export function isLoopbackHost(hostname: string): boolean {
  const bare = hostname.replace(/^\[(.*)\]$/, '$1');
  if (isIP(bare) === 0) return bare === 'localhost' || bare.endsWith('.localhost');
  return loopback.check(bare, isIP(bare) === 6 ? 'ipv6' : 'ipv4');
}

/** An address that only means something on this machine or its link, where no other registry may send us. */
export function isInternalAddress(hostname: string): boolean {
  const bare = hostname.replace(/^\[(.*)\]$/, '$1');
  return isLoopbackHost(bare) || (isIP(bare) !== 0 && internal.check(bare, isIP(bare) === 6 ? 'ipv6' : 'ipv4'));
}

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8, 'ipv4');
loopback.addAddress('::1', 'ipv6');
const internal = new BlockList();
internal.addSubnet('0.0.0.0', 8, 'ipv4');
internal.addSubnet('169.254.0.0', 16, 'ipv4');
internal.addAddress('::', 'ipv6');
internal.addSubnet('fe80::', 10, 'ipv6');

/** Host without port; an IPv6 address without brackets. */
export const hostnameOf = (host: string): string => host.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1');

/**
 * From a registry's name to the addresses to try, in order. Plain HTTP and unverified TLS are for registries that the
 * configuration calls insecure, and for this machine itself; every other registry is reached by verified TLS or not at all.
 */

export class Endpoints {
  private known: { readonly entries: readonly string[]; readonly registries: InsecureRegistries } | undefined;
  private readonly certificates = new Map<string, Promise<TlsSettings>>();
  /** What last worked of an insecure registry, so that the other is not tried first each time. */
  private readonly working = new Map<string, string>();

  constructor(private readonly settings: Settings) {
    this.insecure();
  }

  /** Mirrors first; only the Hub has them. */
  async forPull(domain: string): Promise<Endpoint[]> {
    const own = await this.forPush(domain);
    if (domain !== DEFAULT_DOMAIN) return own;
    const mirrors: Endpoint[] = [];
    for (const mirror of this.settings.registryMirrors) {
      const url = URL.parse(mirror);
      if (!url || (url.protocol !== 'https:' && url.protocol !== 'http:'))
        throw invalid(`invalid mirror: ${JSON.stringify(mirror)} is no http or https URL`);
      mirrors.push({ origin: url.origin, tls: await this.tlsFor(url.host), mirror: true });
    }
    return [...mirrors, ...own];
  }

  async forPush(domain: string): Promise<Endpoint[]> {
    const host = domain === DEFAULT_DOMAIN ? HUB : domain;
    const tls = await this.tlsFor(host);
    const secure: Endpoint = { origin: `https://${host}`, tls, mirror: false };
    if (!(await this.isInsecure(host))) return [secure];
    const both: Endpoint[] = [secure, { origin: `http://${host}`, tls, mirror: false }];
    const known = this.working.get(host);
    return known === undefined ? both : both.toSorted((a, b) => Number(b.origin === known) - Number(a.origin === known));
  }

  /** Remembers which of two addresses answered. */
  worked(endpoint: Endpoint): void {
    if (!endpoint.mirror) this.working.set(new URL(endpoint.origin).host, endpoint.origin);
  }

  isInsecure(host: string): Promise<boolean> {
    return this.insecure().has(host);
  }

  /** Read anew when the configuration was; with it goes what was found out about registries that are something else now. */
  private insecure(): InsecureRegistries {
    const { insecureRegistries: entries } = this.settings;
    if (this.known?.entries !== entries) {
      this.known = { entries, registries: new InsecureRegistries(entries) };
      this.certificates.clear();
      this.working.clear();
    }
    return this.known.registries;
  }

  /** By `host[:port]`. Read once. */
  tlsFor(host: string): Promise<TlsSettings> {
    let pending = this.certificates.get(host);
    if (!pending) {
      pending = this.readCertificates(host);
      this.certificates.set(host, pending);
      pending.catch(() => this.certificates.delete(host));
    }
    return pending;
  }

  private async readCertificates(host: string): Promise<TlsSettings> {
    const verify = !(await this.isInsecure(host));
    const ca: string[] = [];
    let cert: string | undefined;
    let key: string | undefined;
    for (const root of this.settings.certificateFolders) {
      const folder = join(root, host);
      const names = await readdir(folder).catch((error: NodeJS.ErrnoException): string[] => {
        if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return [];
        throw error;
      });
      for (const name of names.toSorted()) {
        if (name.endsWith('.crt')) ca.push(await readFile(join(folder, name), 'utf8'));
        else if (name.endsWith('.cert')) {
          const keyName = name.replace(/\.cert$/, '.key');
          if (!names.includes(keyName))
            throw new EngineError(
              'system',
              `missing key ${keyName} for client certificate ${name}. CA certificates must use the extension .crt`,
            );
          cert = await readFile(join(folder, name), 'utf8');
          key = await readFile(join(folder, keyName), 'utf8');
        } else if (name.endsWith('.key') && !names.includes(name.replace(/\.key$/, '.cert')))
          throw new EngineError('system', `missing client certificate ${name.replace(/\.key$/, '.cert')} for key ${name}`);
      }
    }
    // A folder's authorities come beside those that this system trusts, not instead of them.
    return {
      verify,
      ca: ca.length === 0 ? undefined : [...getCACertificates('default'), ...getCACertificates('system'), ...ca],
      cert,
      key,
    };
  }
}

/** Registries that the configuration allows without verified TLS: by name, with or without port, or by network. */
class InsecureRegistries {
  private readonly hosts = new Set<string>();
  private readonly nets = new BlockList();
  /** Names are looked up only when a configured network could hold them: nobody becomes insecure by what a name server says. */
  private readonly looksUp: boolean;

  constructor(entries: readonly string[]) {
    let networks = 0;
    for (const entry of entries) {
      const [address = '', bits] = entry.split('/');
      if (bits !== undefined && isIP(address)) {
        if (!/^\d{1,3}$/.test(bits) || Number(bits) > (isIP(address) === 6 ? 128 : 32))
          throw invalid(`invalid insecure registry ${JSON.stringify(entry)}: no such network`);
        this.nets.addSubnet(address, Number(bits), isIP(address) === 6 ? 'ipv6' : 'ipv4');
        networks++;
      } else this.hosts.add(entry.replace(/^https?:\/\//, ''));
    }
    this.looksUp = networks > 0;
  }

  async has(host: string): Promise<boolean> {
    const hostname = hostnameOf(host);
    if (isLoopbackHost(hostname) || this.hosts.has(host) || this.hosts.has(hostname)) return true;
    if (isIP(hostname)) return this.nets.check(hostname, isIP(hostname) === 6 ? 'ipv6' : 'ipv4');
    if (!this.looksUp) return false;
    const found = await lookup(hostname, { all: true }).catch(() => []);
    return found.some(({ address, family }) => this.nets.check(address, family === 6 ? 'ipv6' : 'ipv4'));
  }
}
