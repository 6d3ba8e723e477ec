import { conflict, notFound } from '../contracts/errors.js';
import type { PortBinding, PublishedPort } from '../contracts/network.js';
import type { Container, EndpointRequest, HostConfig } from './container.js';
import type { ContainerRoom } from './room.js';
import { validatePortBindings } from './validate.js';

type PortMap = HostConfig['portBindings'];

/** What to publish more and less. In `remove`, a port without bindings means all of its. */
export interface PortChange {
  readonly add: PortMap;
  readonly remove: PortMap;
}

/** The network of `--network` first, so that it is eth0; the others as given. */
export function joinOrder(container: Container): [string, EndpointRequest][] {
  const main = container.hostConfig.networkMode;
  return Object.entries(container.endpointRequests).toSorted(([a], [b]) => Number(b === main) - Number(a === main));
}

/** Ports are published once, where the container's default route is. */
export function publishingNetwork(room: ContainerRoom, container: Container): string | undefined {
  const candidates = joinOrder(container).filter(([name]) => room.networks.find(name)?.internal !== true);
  return candidates.toSorted(([, a], [, b]) => b.gatewayPriority - a.gatewayPriority)[0]?.[0];
}

/** What `-p` and `-P` ask for. */
export function portBindings({ config, hostConfig }: Container, defaultHostIp: string): PortBinding[] {
  const result: PortBinding[] = [];
  const bound = new Set<string>();
  for (const [spec, bindings] of Object.entries(hostConfig.portBindings)) {
    for (const { port, protocol } of expandPort(spec)) {
      bound.add(`${port}/${protocol}`);
      // A port without any binding is published on one of the driver's choice.
      for (const { hostIp, hostPort } of bindings.length > 0 ? bindings : [{ hostIp: '', hostPort: '' }]) {
        const [first, last] = hostPort.split('-');
        result.push({
          protocol,
          containerPort: port,
          hostIp: hostIp === '' ? defaultHostIp : hostIp,
          hostPort: Number(first ?? 0),
          ...(last === undefined ? {} : { hostPortEnd: Number(last) }),
        });
      }
    }
  }
  if (hostConfig.publishAllPorts) {
    for (const spec of config.exposedPorts) {
      for (const { port, protocol } of expandPort(spec)) {
        if (!bound.has(`${port}/${protocol}`)) result.push({ protocol, containerPort: port, hostIp: defaultHostIp, hostPort: 0 });
      }
    }
  }
  return result;
}

function expandPort(spec: string): { port: number; protocol: 'tcp' | 'udp' | 'sctp' }[] {
  const [range = '', protocol = 'tcp'] = spec.split('/');
  const [first = '0', last = first] = range.split('-');
  const result: { port: number; protocol: 'tcp' | 'udp' | 'sctp' }[] = [];
  for (let port = Number(first); port <= Number(last); port++) result.push({ port, protocol: protocol as 'tcp' | 'udp' | 'sctp' });
  return result;
}

/** The bindings after a change; what is to be removed must be there. */
export function changedBindings(old: PortMap, { add, remove }: PortChange): PortMap {
  const map = new Map(Object.entries(old).map(([port, bindings]) => [port, [...bindings]]));
  for (const [port, bindings] of Object.entries(remove)) {
    const have = map.get(port);
    if (!have) throw notFound('published port', port);
    for (const { hostIp, hostPort } of bindings) {
      const at = have.findIndex((one) => one.hostPort === hostPort && (hostIp === '' || one.hostIp === hostIp));
      if (at < 0) throw notFound('published port', `${hostIp ? `${hostIp}:` : ''}${hostPort}:${port}`);
      have.splice(at, 1);
    }
    if (bindings.length === 0 || have.length === 0) map.delete(port);
  }
  for (const [port, bindings] of Object.entries(add)) {
    const have = map.get(port) ?? [];
    for (const binding of bindings) {
      const same = have.some(({ hostIp, hostPort }) => hostPort !== '' && hostPort === binding.hostPort && hostIp === binding.hostIp);
      if (same) throw conflict(`port ${port} is already published on ${binding.hostIp ? `${binding.hostIp}:` : ''}${binding.hostPort}`);
      have.push(binding);
    }
    map.set(port, have);
  }
  return Object.fromEntries(map);
}

/** Publishes exactly `wanted`, at once for a running container. On failure everything is as before. The caller holds the lock. */
export async function setPorts(room: ContainerRoom, container: Container, wanted: PortMap): Promise<void> {
  const { id, hostConfig } = container;
  validatePortBindings(wanted);
  const mode = hostConfig.networkMode;
  if (mode === 'host' || mode === 'none' || mode.startsWith('container:'))
    throw conflict(`container ${id} has no ports of its own to publish in network mode ${mode.split(':')[0]}`);
  const changed = { ...container, hostConfig: { ...hostConfig, portBindings: wanted } };
  if (room.live.get(id)) {
    const name = publishingNetwork(room, container);
    const network = name === undefined ? undefined : room.networks.find(name);
    if (!network) throw conflict(`container ${id} is in no network that could publish ports`);
    const published = room.networks.endpointsOf(id)[network.name]?.published ?? [];
    await room.networks.publish(network.id, id, pinned(portBindings(changed, room.settings.defaultHostIp), published));
  }
  room.store.update(id, () => ({ hostConfig: changed.hostConfig }));
}

/** A binding that leaves the port to the driver keeps the one that it was given, so that nobody is cut off by another port's change. */
export function pinned(bindings: readonly PortBinding[], published: readonly PublishedPort[]): PortBinding[] {
  const isFixed = ({ hostPort, hostPortEnd }: PortBinding): boolean => Boolean(hostPort) && (!hostPortEnd || hostPortEnd === hostPort);
  const sameTarget = (a: PortBinding, b: PublishedPort): boolean => a.protocol === b.protocol && a.containerPort === b.containerPort;
  const free = published.filter(
    (port) =>
      port.hostPort !== 0 && !bindings.some((fixed) => isFixed(fixed) && sameTarget(fixed, port) && fixed.hostPort === port.hostPort),
  );
  const taken = new Set<string>();
  return bindings.map((binding) => {
    if (isFixed(binding)) return binding;
    const { hostPort: first = 0, hostPortEnd: last = first } = binding;
    const kept = free.find(
      (port) =>
        sameTarget(binding, port) &&
        !taken.has(`${port.protocol}/${port.hostPort}`) &&
        (!binding.hostIp || binding.hostIp === port.hostIp) &&
        (first === 0 || (port.hostPort >= first && port.hostPort <= last)),
    );
    if (!kept) return binding;
    taken.add(`${kept.protocol}/${kept.hostPort}`);
    const { hostPortEnd: _range, ...rest } = binding;
    return { ...rest, hostPort: kept.hostPort };
  });
}
