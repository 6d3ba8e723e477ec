import { EngineError } from '@gantry/core/contracts/errors.js';
import type {
  CreateNetwork,
  EndpointInterface,
  JoinInfo,
  NetworkDriver,
  PortBinding,
  PublishedPort,
} from '@gantry/core/contracts/network.js';

/** A driver whose endpoints get no link: there is one network of it, which is there already, and nothing to make or to join. */
export class LinklessDriver implements NetworkDriver {
  readonly scope = 'local';
  private network = '';

  constructor(private readonly name: string) {}

  async createNetwork(networkId: string, _config: CreateNetwork): Promise<void> {
    if (this.network !== '' && this.network !== networkId)
      throw new EngineError('forbidden', `only one instance of "${this.name}" network is allowed`);
    this.network = networkId;
  }

  async deleteNetwork(networkId: string): Promise<void> {
    if (this.network === networkId) this.network = '';
  }

  async createEndpoint(): Promise<EndpointInterface> {
    return {};
  }

  async deleteEndpoint(): Promise<void> {}

  async join(): Promise<JoinInfo> {
    return { routes: [], disableGateway: true };
  }

  async leave(): Promise<void> {}

  async publish(_networkId: string, _endpointId: string, _ports: readonly PortBinding[]): Promise<PublishedPort[]> {
    return [];
  }

  async unpublish(): Promise<void> {}

  async settle(): Promise<void> {}

  async close(): Promise<void> {}
}
