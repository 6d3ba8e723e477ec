import { EngineError } from '@gantry/core/contracts/errors.js';
import type {
  CreateNetwork,
  EndpointInterface,
  JoinInfo,
  NetworkDriver,
  PortBinding,
  PublishedPort,
} from '@gantry/core/contracts/network.js';

/** Nothing to make and nothing to join: the sandbox has its loopback already. */
export class NoneDriver implements NetworkDriver {
  readonly scope = 'local';
  private network = '';

  async createNetwork(networkId: string, _config: CreateNetwork): Promise<void> {
    if (this.network !== '' && this.network !== networkId)
      throw new EngineError('forbidden', 'only one instance of "null" network is allowed');
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
