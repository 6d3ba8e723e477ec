import { EngineError, conflict } from '../contracts/errors.js';
import type { PortBinding } from '../contracts/network.js';
import type { DnsConfig } from '../network/networks.js';
import type { UndoStack } from '../state/undo.js';
import type { Container, EndpointRequest } from './container.js';
import { joinOrder, portBindings, publishingNetwork } from './ports.js';
import type { ContainerRoom } from './room.js';

/** The network of a container that starts, in the specification's terms, and whose name files it sees. */
export interface JoinedNetwork {
  readonly namespace: 'host' | { readonly path: string } | undefined;
  /** The container whose hostname, hosts and resolv.conf are mounted: itself, or the one whose network it shares. */
  readonly nameFilesOf: string;
  readonly hostname: string;
}

/** Another container whose namespace is to be joined: it must run. */
export function donor(room: ContainerRoom, reference: string, what: string): { container: Container; pid: number } {
  const container = room.store.get(reference);
  const live = room.live.get(container.id);
  if (!live || container.state.status === 'restarting') {
    throw conflict(`cannot join ${what} of a non running container: ${container.id}`);
  }
  return { container, pid: live.task.pid };
}

/** Opens the sandbox and joins every network of the container. Undone whole by `undo`. */
export async function joinNetworks(room: ContainerRoom, container: Container, undo: UndoStack): Promise<JoinedNetwork> {
  const { id, config, hostConfig } = container;
  if (hostConfig.networkMode.startsWith('container:')) {
    const other = donor(room, hostConfig.networkMode.slice('container:'.length), 'network');
    return {
      namespace: { path: `/proc/${other.pid}/ns/net` },
      nameFilesOf: other.container.id,
      hostname: other.container.config.hostname,
    };
  }
  if (config.networkDisabled) {
    await room.paths.writeNameFiles(id, {
      hostname: `${config.hostname}\n`,
      hosts: '127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n',
      resolvConf: '',
    });
    return { namespace: undefined, nameFilesOf: id, hostname: config.hostname };
  }
  const host = hostConfig.networkMode === 'host';
  undo.push('leave the networks', () => room.networks.closeSandbox(id));
  const { path } = await room.networks.openSandbox(id, {
    mode: host ? 'host' : 'private',
    dns: dnsOf(room, container),
    extraHosts: hostConfig.extraHosts,
  });
  const publisher = publishingNetwork(room, container);
  for (const [name, request] of joinOrder(container)) {
    await joinNetwork(room, container, name, request, name === publisher ? portBindings(container, room.settings.defaultHostIp) : []);
  }
  const { hosts, resolvConf } = room.networks.nameFiles(id);
  await room.paths.writeNameFiles(id, { hostname: `${config.hostname}\n`, hosts, resolvConf });
  return { namespace: host ? 'host' : { path }, nameFilesOf: id, hostname: config.hostname };
}

/** Joins one network and tells of it. */
export async function joinNetwork(
  room: ContainerRoom,
  container: Container,
  name: string,
  request: EndpointRequest,
  ports: readonly PortBinding[],
): Promise<void> {
  const network = room.networks.find(name);
  if (!network) throw new EngineError('not-found', `network ${name} not found`);
  const legacyLinks = name === container.hostConfig.networkMode ? container.hostConfig.links : [];
  await room.networks.join(network.id, {
    containerId: container.id,
    containerName: container.name,
    hostname: container.config.hostname,
    domainname: container.config.domainname,
    aliases: request.aliases,
    links: [...request.links, ...legacyLinks],
    ipv4Address: request.ipv4Address,
    ipv6Address: request.ipv6Address,
    linkLocalAddresses: request.linkLocalIps,
    macAddress: request.macAddress,
    driverOptions: request.driverOptions,
    gatewayPriority: request.gatewayPriority,
    ports,
  });
}

function dnsOf(room: ContainerRoom, { hostConfig }: Container): DnsConfig {
  const { settings } = room;
  const or = (own: readonly string[], general: readonly string[]): readonly string[] => (own.length > 0 ? own : general);
  return {
    servers: or(hostConfig.dns, settings.dns),
    search: or(hostConfig.dnsSearch, settings.dnsSearch),
    options: or(hostConfig.dnsOptions, settings.dnsOptions),
  };
}
