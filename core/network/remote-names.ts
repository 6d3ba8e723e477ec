import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { isIPv4, isIPv6 } from 'node:net';
import { messageOf } from '../contracts/errors.js';
import { isId } from '../contracts/ids.js';
import type { Logger } from '../contracts/manifest.js';
import type { NamedEndpoint } from './name-records.js';

/** What can be a container's name or alias. */
const NAME = /^[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252})$/;

/** Another engine wrote it: what is no id, no address or no name of a container is not believed. */
export function readEndpoint(told: Record<string, unknown>): NamedEndpoint | undefined {
  const { endpointId, networkId, owner, ipv4, ipv6, names } = told;
  if (typeof endpointId !== 'string' || !isId(endpointId) || typeof networkId !== 'string' || !isId(networkId)) return undefined;
  if (typeof owner !== 'string' || !NAME.test(owner)) return undefined;
  if (typeof ipv4 !== 'string' || typeof ipv6 !== 'string' || (ipv4 !== '' && !isIPv4(ipv4)) || (ipv6 !== '' && !isIPv6(ipv6)))
    return undefined;
  if (!Array.isArray(names)) return undefined;
  const believed = names.filter((name: unknown): name is string => typeof name === 'string' && NAME.test(name));
  return { endpointId, networkId, owner, ipv4, ipv6, names: believed };
}

/** Changes come in flocks; the file is written once for each. */
const SAVE_AFTER_MS = 250;

/**
 * The names of endpoints on other hosts, kept in a file beside the sandboxes and as long as those: a daemon that starts while the
 * cluster's store is away goes on with what its predecessor knew.
 */
export class RemoteNames {
  private readonly endpoints = new Map<string, NamedEndpoint>();
  private timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly path: string,
    private readonly log: Logger,
  ) {}

  load(): readonly NamedEndpoint[] {
    try {
      for (const endpoint of JSON.parse(readFileSync(this.path, 'utf8')) as NamedEndpoint[])
        this.endpoints.set(endpoint.endpointId, endpoint);
    } catch (error) {
      // The store will tell them all; a file that cannot be read only makes a difference until then.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT')
        this.log.warn('names of other hosts are unknown', { error: messageOf(error) });
    }
    return this.all();
  }

  all(): NamedEndpoint[] {
    return [...this.endpoints.values()];
  }

  put(endpoint: NamedEndpoint): void {
    this.endpoints.set(endpoint.endpointId, endpoint);
    this.saveSoon();
  }

  /** Whether it was one of another host. */
  drop(endpointId: string): boolean {
    const known = this.endpoints.delete(endpointId);
    if (known) this.saveSoon();
    return known;
  }

  save(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    try {
      writeFileSync(`${this.path}.new`, JSON.stringify(this.all()), { mode: 0o600 });
      renameSync(`${this.path}.new`, this.path);
    } catch (error) {
      this.log.warn('the names of other hosts were not saved', { error: messageOf(error) });
    }
  }

  private saveSoon(): void {
    this.timer ??= setTimeout(() => this.save(), SAVE_AFTER_MS);
    this.timer.unref();
  }
}
