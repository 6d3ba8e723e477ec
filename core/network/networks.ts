import type { IpamData, PublishedPort, PortBinding } from '../contracts/network.js';

export interface IpamConfig {
  readonly subnet: string;
  readonly ipRange: string;
  readonly gateway: string;
  readonly auxAddresses: Readonly<Record<string, string>>;
}

export interface CreateNetworkRequest {
  readonly name: string;
  /** '' for bridge. */
  readonly driver: string;
  readonly scope: string;
  readonly enableIpv4: boolean;
  readonly enableIpv6: boolean;
  readonly internal: boolean;
  readonly attachable: boolean;
  readonly ingress: boolean;
  readonly configOnly: boolean;
  readonly configFrom: string;
  readonly ipam: { readonly driver: string; readonly options: Readonly<Record<string, string>>; readonly config: readonly IpamConfig[] };
  readonly options: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
}

/** The record of one network. */
export interface Network extends CreateNetworkRequest {
  readonly id: string;
  readonly created: string;
  readonly ipv4: readonly IpamData[];
  readonly ipv6: readonly IpamData[];
}

/** One container's place in one network, as inspect shows it; '' for what is not known (yet). */
export interface EndpointState {
  readonly networkId: string;
  readonly networkName: string;
  readonly endpointId: string;
  readonly gateway: string;
  readonly ipAddress: string;
  readonly ipPrefixLength: number;
  readonly ipv6Gateway: string;
  readonly globalIpv6Address: string;
  readonly globalIpv6PrefixLength: number;
  readonly macAddress: string;
  readonly aliases: readonly string[];
  readonly dnsNames: readonly string[];
  readonly links: readonly string[];
  readonly driverOptions: Readonly<Record<string, string>>;
  readonly gatewayPriority: number;
  /** Static addresses that were asked for. */
  readonly requestedIpv4: string;
  readonly requestedIpv6: string;
  readonly published: readonly PublishedPort[];
}

export interface NetworkView {
  readonly network: Network;
  /** Live endpoints by container id. */
  readonly containers: Readonly<Record<string, { name: string; endpointId: string; mac: string; ipv4: string; ipv6: string }>>;
}

/** One thing of a container that others can reach. */
export interface ExposedPort {
  /** Its name; '' where it is not known. */
  readonly container: string;
  readonly containerId: string;
  readonly network: string;
  /** '' for every protocol. */
  readonly protocol: string;
  /** 0 for every port. */
  readonly containerPort: number;
  /** Where to connect to. */
  readonly address: string;
  readonly port: number;
  /**
   * Who gets there: processes of this host; whoever reaches the one address; whoever reaches the host; whoever has a route to
   * the container's address. `host-network`: the container has the host's ports as its own, and what it serves is not known.
   */
  readonly reach: 'this-host' | 'address' | 'everyone' | 'routes' | 'host-network';
}

export interface Exposure {
  readonly ports: readonly ExposedPort[];
  /** What of the host stands in the way of the engine's rules. */
  readonly warnings: readonly string[];
}

/** What the container service tells of a container that joins. */
export interface JoinRequest {
  readonly containerId: string;
  readonly containerName: string;
  readonly hostname: string;
  readonly domainname: string;
  readonly aliases: readonly string[];
  readonly links: readonly string[];
  readonly ipv4Address: string;
  readonly ipv6Address: string;
  /** More addresses of the link, from 169.254.0.0/16 and fe80::/10; nobody leases them. */
  readonly linkLocalAddresses: readonly string[];
  readonly macAddress: string;
  readonly driverOptions: Readonly<Record<string, string>>;
  readonly gatewayPriority: number;
  readonly ports: readonly PortBinding[];
}

export interface DnsConfig {
  readonly servers: readonly string[];
  readonly search: readonly string[];
  readonly options: readonly string[];
}

export type NetworkFilters = ReadonlyMap<string, readonly string[]>;

/** Networks, by full id, exact name, or unique id prefix. */
export interface Networks {
  create(request: CreateNetworkRequest): Promise<{ id: string; warning: string }>;
  list(filters: NetworkFilters): Promise<NetworkView[]>;
  inspect(name: string): Promise<NetworkView>;
  /** `forbidden` while endpoints are active or for a predefined one. */
  remove(name: string): Promise<void>;
  prune(filters: NetworkFilters): Promise<string[]>;
  /** The record alone, from memory; `undefined` when there is none. */
  find(name: string): Network | undefined;

  /**
   * A sandbox: the network namespace of one container, kept at a path that follows from the id. Idempotent.
   * `mode` host gives the host's own (path '').
   */
  openSandbox(
    containerId: string,
    options: { mode: 'private' | 'host'; dns: DnsConfig; extraHosts: readonly string[] },
  ): Promise<{ path: string }>;
  /** Leaves all networks and takes the namespace away. Repeatable. */
  closeSandbox(containerId: string): Promise<void>;
  /** Joins one more network; the sandbox is open. Undone whole on failure. */
  join(network: string, request: JoinRequest): Promise<EndpointState>;
  /** Whether there was anything to leave; without `force`, not to be on it is `forbidden`. */
  leave(network: string, containerId: string, options?: { force?: boolean }): Promise<boolean>;
  /**
   * All the published ports of a container's place in a network, in place of what was published: all or, on failure, those of before.
   * Returns what is really published.
   */
  publish(network: string, containerId: string, ports: readonly PortBinding[]): Promise<readonly PublishedPort[]>;
  /** What of the containers is reachable from where. */
  exposure(): Promise<Exposure>;
  /** What of the host stands in the way of containers' traffic. */
  hostWarnings(): Promise<readonly string[]>;
  /** Endpoints of one container by network name, from memory. */
  endpointsOf(containerId: string): Readonly<Record<string, EndpointState>>;
  sandboxOf(containerId: string): { id: string; path: string } | undefined;
  /** New names in DNS after a container's rename. */
  rename(containerId: string, name: string): Promise<void>;
  /** Takes legacy links out of a container's place in a network; the caller writes the {@link nameFiles} anew. */
  dropLinks(containerId: string, network: string, links: readonly string[]): Promise<void>;
  /** What the container's /etc/hosts and /etc/resolv.conf must say now; the container service writes the files. */
  nameFiles(containerId: string): { hosts: string; resolvConf: string };
  /** Interface counters by name in the sandbox. */
  counters(containerId: string): Promise<
    Record<
      string,
      {
        rxBytes: number;
        rxPackets: number;
        rxErrors: number;
        rxDropped: number;
        txBytes: number;
        txPackets: number;
        txErrors: number;
        txDropped: number;
      }
    >
  >;

  /** Brings back every recorded network and the sandboxes of the containers that live; takes away the rest. At daemon start. */
  restore(liveContainers: ReadonlySet<string>): Promise<void>;
}
