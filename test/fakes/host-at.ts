import type { Host } from '@gantry/core/contracts/host.js';
import type { HostNet } from '@gantry/core/contracts/host-net.js';
import { host } from '@gantry/native/index.js';

/** This machine's system calls as they are on a host that is a network namespace: '' means that one. */
export function hostAt(path: string): Host {
  const at = (namespace: string): string => namespace || path;
  const net: HostNet = {
    ...host.net,
    configure: (namespace, steps) => host.net.configure(at(namespace), steps),
    links: (namespace) => host.net.links(at(namespace)),
    routes: (namespace) => host.net.routes(at(namespace)),
    neighbours: (namespace, link) => host.net.neighbours(at(namespace), link),
    counters: (namespace) => host.net.counters(at(namespace)),
    encrypt: (namespace, steps) => host.net.encrypt(at(namespace), steps),
    encryption: (namespace, reqid, port) => host.net.encryption(at(namespace), reqid, port),
    nft: (namespace, commands) => host.net.nft(at(namespace), commands),
    nftTable: (namespace, table, family) => host.net.nftTable(at(namespace), table, family),
    nftBaseChains: (namespace) => host.net.nftBaseChains(at(namespace)),
    openClientSockets: (namespace, protocol, count) => host.net.openClientSockets(at(namespace), protocol, count),
    openSocket: (namespace, protocol, address, port) => host.net.openSocket(at(namespace), protocol, address, port),
  };
  return { ...host, net };
}
