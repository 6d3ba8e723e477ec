import { existsSync, readFileSync } from 'node:fs';
import { isIPv6 } from 'node:net';
import type { HostNet } from '../contracts/host-net.js';
import type { NetworkRoom } from './network-room.js';
import type { Exposure, ExposedPort, Network } from './networks.js';
import { isLoopback } from './resolv-conf.js';

const GATEWAY_MODE = 'com.docker.network.bridge.gateway_mode_ipv';

/** What of the containers is reachable from where, as the records have it, and what of the host stands in the way. */
export async function exposure(room: NetworkRoom): Promise<Exposure> {
  const ports = [...room.sandboxes.values()].flatMap(({ record, endpoints }): ExposedPort[] => {
    if (record.mode === 'host')
      return [
        {
          container: '',
          containerId: record.containerId,
          network: 'host',
          protocol: '',
          containerPort: 0,
          address: '',
          port: 0,
          reach: 'host-network',
        },
      ];
    return endpoints.flatMap(({ state, containerName, containerId }) => {
      const network = room.networks.get(state.networkId)?.network;
      const own = { container: containerName, containerId, network: state.networkName };
      const addressIn = (hostIp: string): string => (isIPv6(hostIp) ? state.globalIpv6Address : state.ipAddress);
      const published = state.published.map(({ protocol, containerPort, hostIp, hostPort }): ExposedPort =>
        hostPort === 0
          ? { ...own, protocol, containerPort, address: addressIn(hostIp), port: containerPort, reach: 'routes' }
          : { ...own, protocol, containerPort, address: hostIp, port: hostPort, reach: reachOf(hostIp) },
      );
      const open = (network ? unprotected(network) : []).map((family): ExposedPort => {
        const address = family === 6 ? state.globalIpv6Address : state.ipAddress;
        return { ...own, protocol: '', containerPort: 0, address, port: 0, reach: 'routes' };
      });
      return [...published, ...open.filter(({ address }) => address !== '')];
    });
  });
  const off =
    read('/proc/sys/net/ipv4/ip_forward') === '0' ? ['IPv4 forwarding is disabled: containers reach nothing beyond their own bridge'] : [];
  return { ports, warnings: [...off, ...(await hostWarnings(room.host.net, `gantry-${room.settings.instance}`))] };
}

const reachOf = (hostIp: string): ExposedPort['reach'] =>
  isLoopback(hostIp) ? 'this-host' : hostIp === '0.0.0.0' || hostIp === '::' ? 'everyone' : 'address';

/** Families in which every port of the network's containers is open to whoever has a route. */
const unprotected = ({ options }: Network): (4 | 6)[] =>
  ([4, 6] as const).filter((family) => options[`${GATEWAY_MODE}${family}`] === 'nat-unprotected');

/**
 * What keeps containers from being reached, or from reaching others, in spite of the engine's own rules: a packet that any
 * table drops is dropped, and the rules of others are theirs.
 */
export async function hostWarnings(net: HostNet, ownTable: string): Promise<string[]> {
  const warnings: string[] = [];
  for (const { family, table, name, hook, drops } of await net.nftBaseChains('')) {
    if (hook !== 'forward' || table === ownTable) continue;
    const chain = `chain ${name} of nftables table ${family} ${table}`;
    if (drops)
      warnings.push(
        `the host's firewall drops forwarded packets that it does not accept itself (${chain}): let through there what comes from and goes to the containers' bridges`,
      );
    else if (table === 'firewalld')
      warnings.push(
        `firewalld rejects forwarded packets of interfaces without a zone (${chain}): put the containers' bridges into a zone that accepts`,
      );
  }
  if (read('/proc/net/ip_tables_names').split('\n').includes('filter'))
    warnings.push('rules of iptables-legacy are loaded, which may drop packets to and from containers: see iptables-legacy -S FORWARD');
  return warnings;
}

const read = (path: string): string => (existsSync(path) ? readFileSync(path, 'utf8').trim() : '');
