import { limits } from '../content/limits.js';
import { DEFAULT_DOMAIN, type Reference } from '../content/reference.js';
import type { Settings } from '../system/settings.js';
import type { RegistryAuth } from './credentials.js';
import { Endpoints } from './endpoints.js';
import { type ClientOptions, RegistryClient } from './registry-client.js';
import { RegistryError, RegistryUnreachable } from './registry-error.js';
import { Transport } from './transport.js';

/** A server that has TLS on this port since we last asked answers plain HTTP with 400; the next address is the same one by TLS. */
const speaksTlsOnly = (client: RegistryClient, error: unknown): boolean =>
  client.endpoint.origin.startsWith('http:') && error instanceof RegistryError && error.status === 400;

const SEARCH_HOST = 'index.docker.io';

/** Opens clients for registries. One for the daemon: it keeps the connections. */

export class Registry {
  private readonly endpoints: Endpoints;
  private readonly transport: Transport;

  constructor(settings: Settings) {
    this.endpoints = new Endpoints(settings);
    this.transport = new Transport(`gantry/${settings.version} (linux; ${process.arch})`, limits.idleMs, process.env);
  }

  /** Clients for a repository, one for each address that may be tried, in order. */
  async forPull(name: Reference, auth: RegistryAuth | undefined, options?: ClientOptions): Promise<RegistryClient[]> {
    return (await this.endpoints.forPull(name.domain)).map((endpoint) => this.client(endpoint, name.path, auth, options));
  }

  async forPush(name: Reference, auth: RegistryAuth | undefined, options?: ClientOptions): Promise<RegistryClient[]> {
    return (await this.endpoints.forPush(name.domain)).map((endpoint) => this.client(endpoint, name.path, auth, options));
  }

  /** For a login: asks for a token that lasts. */
  async forLogin(domain: string, auth: RegistryAuth): Promise<RegistryClient[]> {
    return (await this.endpoints.forPush(domain)).map(
      (endpoint) => new RegistryClient(this.transport, this.endpoints, endpoint, '', auth, { offline: true }),
    );
  }

  /** For a search: the Hub answers it at a host of its own. */
  async forSearch(domain: string, auth: RegistryAuth | undefined): Promise<RegistryClient[]> {
    const endpoints = await this.endpoints.forPush(domain === DEFAULT_DOMAIN ? SEARCH_HOST : domain);
    return endpoints.map((endpoint) => this.client(endpoint, '', auth));
  }

  /**
   * Does `work` with the first address that answers. A mirror that fails in any way is passed over; any other address only
   * when it cannot be reached. What is told is the last address' error.
   */
  async firstWorking<T>(
    clients: readonly RegistryClient[],
    work: (client: RegistryClient) => Promise<T>,
  ): Promise<{ client: RegistryClient; result: T }> {
    let last: unknown;
    for (const client of clients) {
      try {
        const result = await work(client);
        this.endpoints.worked(client.endpoint);
        return { client, result };
      } catch (error) {
        last = error;
        if (!client.endpoint.mirror && !(error instanceof RegistryUnreachable) && !speaksTlsOnly(client, error)) {
          this.endpoints.worked(client.endpoint);
          throw error;
        }
      }
    }
    throw last;
  }

  close(): void {
    this.transport.close();
  }

  private client(
    endpoint: ConstructorParameters<typeof RegistryClient>[2],
    path: string,
    auth: RegistryAuth | undefined,
    options?: ClientOptions,
  ): RegistryClient {
    return new RegistryClient(this.transport, this.endpoints, endpoint, path, auth, options);
  }
}
