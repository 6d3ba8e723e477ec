/** One address family of a network. */
export interface IpamData {
  /** CIDR of the pool. */
  readonly pool: string;
  /** Gateway address with prefix length. */
  readonly gateway?: string;
  readonly auxAddresses: Readonly<Record<string, string>>;
}

export interface CreateNetwork {
  readonly options: Readonly<Record<string, string>>;
  readonly internal: boolean;
  readonly ipv4: readonly IpamData[];
  readonly ipv6: readonly IpamData[];
}

export interface EndpointInterface {
  /** With prefix length. */
  readonly address?: string;
  readonly addressV6?: string;
  readonly mac?: string;
}

export interface Route {
  /** CIDR. */
  readonly destination: string;
  /** On-link when absent. */
  readonly nextHop?: string;
}

export interface JoinInfo {
  /**
   * The endpoint's link, which is down; absent when the driver gives none. The engine names it `dstPrefix` and a number, gives it
   * its addresses and brings it up. With `inSandbox` it is in the sandbox already, else the engine moves it there from the host.
   */
  readonly link?: { readonly srcName: string; readonly dstPrefix: string; readonly inSandbox?: boolean };
  /** '' for a default route to the link itself. */
  readonly gateway?: string;
  readonly gatewayV6?: string;
  readonly routes: readonly Route[];
  /** True when the sandbox needs no default route from this endpoint. */
  readonly disableGateway?: boolean;
}

export interface PortBinding {
  readonly protocol: 'tcp' | 'udp' | 'sctp';
  readonly containerPort: number;
  /** '' or absent: every address of the host, both families as the network has them. */
  readonly hostIp?: string;
  /** 0 or absent: the driver chooses one. */
  readonly hostPort?: number;
  /** Last port of a range to choose from, with `hostPort` the first. */
  readonly hostPortEnd?: number;
}

/** What is really published after {@link NetworkDriver.publish}. */
export interface PublishedPort {
  readonly protocol: 'tcp' | 'udp' | 'sctp';
  readonly containerPort: number;
  readonly hostIp: string;
  readonly hostPort: number;
}

/** For drivers with the capability `global-allocation`, whose networks are on several hosts. */
export interface GlobalAllocation {
  /**
   * On the host where a network is created, before any `createNetwork`: takes what only one network of all may have, and returns it as
   * options for the network's record, which every host gives to `createNetwork`.
   */
  allocateNetwork(networkId: string, config: CreateNetwork): Promise<Readonly<Record<string, string>>>;
  /** On the host where it is removed, once no host has it any more. Absent is fine. */
  freeNetwork(networkId: string): Promise<void>;
  /** At daemon start: what this host allocated for networks that are not among these is freed. */
  auditNetworks(known: ReadonlySet<string>): Promise<void>;
}

/**
 * A network driver in the terms of the container network model: networks, endpoints in them, sandboxes that join.
 * Ids are 64 hex digits given by the network service; every kernel object a driver makes has a name that follows
 * from them and from `env.instance`. Every removing method succeeds when the thing is gone.
 */
export interface NetworkDriver {
  readonly scope: 'local' | 'global';
  /** Also called at each daemon start for every kept network, with the same arguments: brings the kernel into the state that follows from them, leaving live endpoints alone. An unknown option in the driver's own name space is `invalid-parameter`. */
  createNetwork(networkId: string, config: CreateNetwork): Promise<void>;
  /**
   * At daemon start, in place of `createNetwork` for each of the kept networks: a driver has it that can make many at less cost than
   * one after the other. Resolves to why which were not made; the others were.
   */
  createNetworks?(networks: ReadonlyMap<string, CreateNetwork>): Promise<ReadonlyMap<string, unknown>>;
  /** Takes away all that `createNetwork` made. */
  deleteNetwork(networkId: string): Promise<void>;
  /** Returns what the driver chose beyond what it was given (a MAC address). Called again at daemon start for each live endpoint with the same arguments, where it must recognise its own. */
  createEndpoint(
    networkId: string,
    endpointId: string,
    iface: EndpointInterface,
    options: Readonly<Record<string, string>>,
    /** What {@link publish} will be asked for later: drivers that need to know while they make the endpoint. */
    ports?: readonly PortBinding[],
  ): Promise<EndpointInterface>;
  deleteEndpoint(networkId: string, endpointId: string): Promise<void>;
  /** The endpoint enters the sandbox at `sandboxPath` (a network namespace file). The engine moves the link, sets addresses and routes. */
  join(networkId: string, endpointId: string, sandboxPath: string, ports?: readonly PortBinding[]): Promise<JoinInfo>;
  leave(networkId: string, endpointId: string): Promise<void>;
  /** All the ports of an endpoint at once, atomically: all or none; replaces what was published before. `conflict` with `Bind for IP:PORT failed: port is already allocated` when one is taken, whoever has it. */
  publish(networkId: string, endpointId: string, ports: readonly PortBinding[]): Promise<PublishedPort[]>;
  unpublish(networkId: string, endpointId: string): Promise<void>;
  /**
   * At daemon start, after every known network and live endpoint was given again (`createNetwork`, `createEndpoint`, and `publish` with
   * the ports that were chosen; not `join`): what the driver finds in the kernel under its own names beyond these is taken away. Until
   * then the kernel's former state serves the live endpoints, and a port that somebody took meanwhile is no error.
   */
  settle(): Promise<void>;
  /** The daemon stops. What live endpoints use stays; where there is none, what the networks made is taken away and comes back with `createNetwork`. */
  close(): Promise<void>;
}
