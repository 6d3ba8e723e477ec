import { readFileSync } from 'node:fs';
import { open, rename } from 'node:fs/promises';
import { join } from 'node:path';
import type { DriverEnv } from '@gantry/core/contracts/manifest.js';
import type {
  CreateNetwork,
  EndpointInterface,
  JoinInfo,
  NetworkDriver,
  PortBinding,
  PublishedPort,
} from '@gantry/core/contracts/network.js';
import type { NetworkPlugin } from '../sdk/server/network.js';

interface KeptEndpoint {
  readonly iface: EndpointInterface;
  readonly options: Readonly<Record<string, string>>;
  readonly published: readonly PublishedPort[];
}

interface Kept {
  readonly networks: Record<string, { readonly config: CreateNetwork; readonly endpoints: Record<string, KeptEndpoint> }>;
}

/**
 * An in-tree network driver behind the plugin protocol. The engine gives such a driver its networks again at each start, and the
 * protocol does not: so they are kept in a file here, written before a call is answered, and given again when this program starts.
 */
export class ServedNetworks implements NetworkPlugin {
  private kept: Kept = { networks: {} };
  private readonly file: string;
  private saving: Promise<void> = Promise.resolve();

  constructor(
    private readonly driver: NetworkDriver,
    env: DriverEnv,
  ) {
    this.file = join(env.root, 'networks.json');
  }

  get scope(): 'local' | 'global' {
    return this.driver.scope;
  }

  /** Before anything is served. */
  async restore(): Promise<void> {
    try {
      this.kept = JSON.parse(readFileSync(this.file, 'utf8')) as Kept;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
    for (const [networkId, { config, endpoints }] of Object.entries(this.kept.networks)) {
      await this.driver.createNetwork(networkId, config);
      for (const [endpointId, { iface, options, published }] of Object.entries(endpoints)) {
        await this.driver.createEndpoint(networkId, endpointId, iface, options);
        if (published.length > 0) await this.driver.publish(networkId, endpointId, published);
      }
    }
    await this.driver.settle();
  }

  async createNetwork(networkId: string, config: CreateNetwork): Promise<void> {
    await this.driver.createNetwork(networkId, config);
    this.kept.networks[networkId] ??= { config, endpoints: {} };
    await this.save();
  }

  async deleteNetwork(networkId: string): Promise<void> {
    await this.driver.deleteNetwork(networkId);
    delete this.kept.networks[networkId];
    await this.save();
  }

  async createEndpoint(
    networkId: string,
    endpointId: string,
    iface: EndpointInterface,
    options: Readonly<Record<string, string>>,
    ports: readonly PortBinding[],
  ): Promise<EndpointInterface> {
    const made = await this.driver.createEndpoint(networkId, endpointId, iface, options, ports);
    const network = this.kept.networks[networkId];
    if (network) network.endpoints[endpointId] = { iface: { ...iface, ...made }, options, published: [] };
    await this.save();
    return made;
  }

  async deleteEndpoint(networkId: string, endpointId: string): Promise<void> {
    await this.driver.deleteEndpoint(networkId, endpointId);
    delete this.kept.networks[networkId]?.endpoints[endpointId];
    await this.save();
  }

  join(networkId: string, endpointId: string, sandboxPath: string): Promise<JoinInfo> {
    return this.driver.join(networkId, endpointId, sandboxPath);
  }

  leave(networkId: string, endpointId: string): Promise<void> {
    return this.driver.leave(networkId, endpointId);
  }

  async publish(networkId: string, endpointId: string, ports: readonly PortBinding[]): Promise<readonly PublishedPort[]> {
    const published = await this.driver.publish(networkId, endpointId, ports);
    await this.notePublished(networkId, endpointId, published);
    return published;
  }

  async unpublish(networkId: string, endpointId: string): Promise<void> {
    await this.driver.unpublish(networkId, endpointId);
    await this.notePublished(networkId, endpointId, []);
  }

  close(): Promise<void> {
    return this.driver.close();
  }

  private async notePublished(networkId: string, endpointId: string, published: readonly PublishedPort[]): Promise<void> {
    const endpoints = this.kept.networks[networkId]?.endpoints;
    const endpoint = endpoints?.[endpointId];
    if (endpoints && endpoint) endpoints[endpointId] = { ...endpoint, published };
    await this.save();
  }

  /** One writing at a time; each writes what is known when its turn comes. */
  private save(): Promise<void> {
    this.saving = this.saving.catch(() => undefined).then(() => this.write());
    return this.saving;
  }

  private async write(): Promise<void> {
    const fresh = `${this.file}.new`;
    const file = await open(fresh, 'w', 0o600);
    try {
      await file.writeFile(JSON.stringify(this.kept));
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(fresh, this.file);
  }
}
