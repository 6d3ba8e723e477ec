import { join } from 'node:path';
import { EngineError, invalid } from '../contracts/errors.js';
import type { Host } from '../contracts/host.js';
import type { Logger } from '../contracts/manifest.js';
import type { CreateNetwork } from '../contracts/network.js';
import type { DriverRegistry } from '../extension/driver-registry.js';
import type { Database } from '../state/database.js';
import type { Settings } from '../system/settings.js';
import type { Events } from '../system/system.js';
import { Addresses } from './addresses.js';
import { isUserDefined } from './endpoint.js';
import { HostResolvers } from './host-resolvers.js';
import type { GlobalNetworks } from './global-networks.js';
import type { HostsEntry } from './name-files.js';
import type { NamedEndpoint } from './name-records.js';
import { NameServer } from './name-server.js';
import { type EndpointRecord, type NetworkRecord, NetworkStore } from './network-store.js';
import type { Network, NetworkView } from './networks.js';
import type { Sandbox } from './sandbox.js';

/** What the parts of this folder share: the records in memory, and the services that they work with. */
export class NetworkRoom {
  readonly networks = new Map<string, NetworkRecord>();
  readonly sandboxes = new Map<string, Sandbox>();
  readonly names: NameServer;
  readonly resolvers = new HostResolvers();
  readonly store: NetworkStore;
  readonly addresses: Addresses;
  /** The daemon stops: nobody is waited for any more. */
  closed = false;
  /** Networks shared with other engines; `undefined` while this one is alone. */
  global: GlobalNetworks | undefined;
  /** The making of the network that leads outside, while it is under way. */
  wayOut: Promise<NetworkRecord> | undefined;
  /** Where the files of the namespaces are. */
  readonly folder: string;

  constructor(
    readonly settings: Settings,
    readonly log: Logger,
    readonly host: Host,
    db: Database,
    readonly drivers: DriverRegistry,
    readonly events: Events,
  ) {
    this.store = new NetworkStore(db);
    this.addresses = new Addresses(drivers, host.net, log);
    this.folder = join(settings.execRoot, 'netns');
    this.names = new NameServer(host, log, settings.nameServerPath, join(settings.execRoot, 'dns', 'control.sock'));
  }

  /** What links add to /etc/hosts: on the default network there is no other way to name a container. One that has gone since is left out. */
  linkEntries(sandbox: Sandbox): HostsEntry[] {
    return sandbox.endpoints.flatMap(({ state }) => {
      const network = this.networks.get(state.networkId)?.network;
      if (!network || isUserDefined(network)) return [];
      return state.links.flatMap((link): HostsEntry[] => {
        const [target = '', alias = target] = link.split(':');
        const other = this.endpointNamed(network.id, target.replace(/^\//, ''));
        if (!other) return [];
        const names = [alias.replace(/^.*\//, ''), other.hostname, other.containerName];
        return [other.state.ipAddress, other.state.globalIpv6Address].flatMap((address) =>
          address ? [{ address, names: [...new Set(names)] }] : [],
        );
      });
    });
  }

  endpointNamed(networkId: string, container: string): EndpointRecord | undefined {
    for (const sandbox of this.sandboxes.values()) {
      const endpoint = sandbox.endpointIn(networkId);
      if (endpoint && (endpoint.containerName === container || endpoint.containerId === container)) return endpoint;
    }
    return undefined;
  }

  /** The host as containers reach it. */
  hostGateway(): string {
    const gateway = this.byName('bridge')?.network.ipv4[0]?.gateway ?? '';
    return gateway.split('/')[0] ?? '';
  }

  usedNetworks(): Set<string> {
    return new Set([...this.sandboxes.values()].flatMap(({ endpoints }) => endpoints.map(({ state }) => state.networkId)));
  }

  /** The addresses of live endpoints by network. */
  leases(): Map<string, string[]> {
    const leases = new Map<string, string[]>();
    for (const sandbox of this.sandboxes.values())
      for (const { state } of sandbox.endpoints)
        for (const address of [state.ipAddress, state.globalIpv6Address])
          if (address) leases.set(state.networkId, [...(leases.get(state.networkId) ?? []), address]);
    return leases;
  }

  view(network: Network): NetworkView {
    const containers: Record<string, NetworkView['containers'][string]> = {};
    for (const [id, sandbox] of this.sandboxes) {
      const endpoint = sandbox.endpointIn(network.id);
      if (!endpoint) continue;
      const { state } = endpoint;
      containers[id] = {
        name: endpoint.containerName,
        endpointId: state.endpointId,
        mac: state.macAddress,
        ipv4: state.ipAddress && `${state.ipAddress}/${state.ipPrefixLength}`,
        ipv6: state.globalIpv6Address && `${state.globalIpv6Address}/${state.globalIpv6PrefixLength}`,
      };
    }
    return { network, containers };
  }

  byName(name: string): NetworkRecord | undefined {
    return [...this.networks.values()].find(({ network }) => network.name === name);
  }

  /** Full id, then exact name, then an id's beginning that only one has. */
  search(text: string): NetworkRecord | undefined {
    // What `--network default` means is the default network.
    const name = text === 'default' ? 'bridge' : text;
    const exact = this.networks.get(name) ?? this.byName(name);
    if (exact || name === '') return exact;
    const matches = [...this.networks.values()].filter(({ network }) => network.id.startsWith(name));
    if (matches.length > 1) throw invalid(`network ${name} is ambiguous (${matches.length} matches found based on ID prefix)`);
    return matches[0];
  }

  lookUp(name: string): NetworkRecord {
    const record = this.search(name);
    if (!record) throw notFound(name);
    return record;
  }

  tell(action: string, network: Network, containerId?: string): void {
    this.events.publish({
      type: 'network',
      action,
      id: network.id,
      attributes: { ...(containerId !== undefined && { container: containerId }), name: network.name, type: network.driver },
    });
  }
}

export const notFound = (name: string): EngineError => new EngineError('not-found', `network ${name.slice(0, 256)} not found`);

export const namedEndpoint = ({ containerName, state }: EndpointRecord): NamedEndpoint => ({
  endpointId: state.endpointId,
  networkId: state.networkId,
  owner: containerName,
  ipv4: state.ipAddress,
  ipv6: state.globalIpv6Address,
  names: state.dnsNames,
});

/** What a driver is told of a network. */
export const driverConfig = ({ options, internal, ipv4, ipv6 }: Network): CreateNetwork => ({ options, internal, ipv4, ipv6 });
