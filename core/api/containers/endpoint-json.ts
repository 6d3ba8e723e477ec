import type { Container, EndpointRequest, MountPoint } from '../../container/container.js';
import type { ContainerView } from '../../container/containers.js';
import type { EndpointState, Networks } from '../../network/networks.js';

/** Names and ids of networks, from memory. */
export type NetworkLookup = Pick<Networks, 'find'>;

const isLive = (container: Container): boolean => ['running', 'paused', 'restarting'].includes(container.state.status);

function ipamConfig(request: EndpointRequest | undefined): object | null {
  if (!request) return null;
  const { ipv4Address, ipv6Address, linkLocalIps } = request;
  if (!ipv4Address && !ipv6Address && linkLocalIps.length === 0) return null;
  return {
    ...(ipv4Address ? { IPv4Address: ipv4Address } : {}),
    ...(ipv6Address ? { IPv6Address: ipv6Address } : {}),
    ...(linkLocalIps.length > 0 ? { LinkLocalIPs: linkLocalIps } : {}),
  };
}

function endpointJson(state: EndpointState | undefined, request: EndpointRequest | undefined, networkId: string): object {
  const links = state?.links ?? request?.links ?? [];
  // What the user gave, and nothing else: DNSNames has all.
  const aliases = request?.aliases ?? state?.aliases ?? [];
  const driverOptions = state?.driverOptions ?? request?.driverOptions ?? {};
  return {
    IPAMConfig: ipamConfig(request),
    Links: links.length > 0 ? links : null,
    Aliases: aliases.length > 0 ? aliases : null,
    MacAddress: state?.macAddress ?? request?.macAddress ?? '',
    DriverOpts: Object.keys(driverOptions).length > 0 ? driverOptions : null,
    GwPriority: state?.gatewayPriority ?? request?.gatewayPriority ?? 0,
    NetworkID: state?.networkId ?? networkId,
    EndpointID: state?.endpointId ?? '',
    Gateway: state?.gateway ?? '',
    IPAddress: state?.ipAddress ?? '',
    IPPrefixLen: state?.ipPrefixLength ?? 0,
    IPv6Gateway: state?.ipv6Gateway ?? '',
    GlobalIPv6Address: state?.globalIpv6Address ?? '',
    GlobalIPv6PrefixLen: state?.globalIpv6PrefixLength ?? 0,
    DNSNames: state && state.dnsNames.length > 0 ? state.dnsNames : null,
  };
}

/** Every network the container is on or will be on at its start, by name. */
export function networksJson(view: ContainerView, lookup: NetworkLookup): Record<string, object> {
  const { container, endpoints } = view;
  const requests = container.endpointRequests;
  const networks: Record<string, object> = {};
  const ids = new Set<string>();
  for (const [name, state] of Object.entries(endpoints)) {
    // A request may have named the network by its id.
    networks[name] = endpointJson(state, requests[name] ?? requests[state.networkId], state.networkId);
    ids.add(state.networkId);
  }
  for (const name of Object.keys(requests)) {
    const network = lookup.find(name);
    if (network ? ids.has(network.id) : networks[name] !== undefined) continue;
    const shown = network?.name ?? name;
    networks[shown] = endpointJson(undefined, requests[name], network?.id ?? '');
  }
  return networks;
}

interface PortAddress {
  HostIp: string;
  HostPort: string;
}

/** `port/protocol` to where it is reached; null for what is exposed only. Empty while it does not run. */
export function portsJson(view: ContainerView): Record<string, PortAddress[] | null> {
  const { container, endpoints } = view;
  const ports: Record<string, PortAddress[] | null> = {};
  if (!isLive(container)) return ports;
  const mode = container.hostConfig.networkMode;
  if (mode === 'host' || mode === 'none' || mode.startsWith('container:')) return ports;
  for (const port of container.config.exposedPorts) ports[port] = null;
  for (const port of Object.keys(container.hostConfig.portBindings)) ports[port] ??= null;
  for (const { published } of Object.values(endpoints)) {
    for (const { protocol, containerPort, hostIp, hostPort } of published) {
      const key = `${containerPort}/${protocol}`;
      // In a routed network a port has no port of the host's.
      (ports[key] ??= []).push({ HostIp: hostIp, HostPort: hostPort === 0 ? '' : String(hostPort) });
    }
  }
  return ports;
}

/** The same for `ps`. */
export function portListJson(view: ContainerView): object[] {
  const list: object[] = [];
  for (const [key, addresses] of Object.entries(portsJson(view))) {
    const [port, protocol = 'tcp'] = key.split('/');
    const PrivatePort = Number(port);
    if (!addresses) list.push({ PrivatePort, Type: protocol });
    else
      for (const { HostIp, HostPort } of addresses) {
        list.push({
          ...(HostIp ? { IP: HostIp } : {}),
          PrivatePort,
          ...(HostPort ? { PublicPort: Number(HostPort) } : {}),
          Type: protocol,
        });
      }
  }
  return list;
}

export function mountPointJson(mount: MountPoint): object {
  return {
    Type: mount.type,
    ...(mount.name ? { Name: mount.name } : {}),
    Source: mount.source,
    Destination: mount.destination,
    ...(mount.driver ? { Driver: mount.driver } : {}),
    Mode: mount.mode,
    RW: mount.readWrite,
    Propagation: mount.propagation,
  };
}
