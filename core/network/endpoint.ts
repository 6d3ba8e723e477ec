import { isIPv4, isIPv6 } from 'node:net';
import { EngineError, invalid } from '../contracts/errors.js';
import type { HostNet, NetStep } from '../contracts/host-net.js';
import type { JoinInfo } from '../contracts/network.js';
import type { EndpointState, JoinRequest, Network } from './networks.js';
import type { Sandbox } from './sandbox.js';

const IFNAME = 'com.docker.network.endpoint.ifname';
const SYSCTLS = 'com.docker.network.endpoint.sysctls';

/** Docker's name for the network that leads outside; one that somebody made under it with a subnet of choice is used as it is. */
export const WAY_OUT = 'docker_gwbridge';

/** Whether names are resolved on it; on the default bridge there are links only, and the way out of overlay networks has none. */
export const isUserDefined = (network: Network): boolean => !['bridge', 'host', 'none', WAY_OUT].includes(network.name);

/** Refuses what a network cannot give, before anything is acquired. */
export function checkJoin(network: Network, request: JoinRequest): void {
  if (network.configOnly)
    throw new EngineError('forbidden', `network ${network.name} is a configuration-only network and cannot be connected to`);
  checkAddress(network, request.ipv4Address, false);
  checkAddress(network, request.ipv6Address, true);
  for (const address of request.linkLocalAddresses) linkLocalCidr(address);
  if (request.aliases.length > 0 && !isUserDefined(network))
    throw invalid('network-scoped alias is supported only for containers in user defined networks');
  if (request.macAddress && !isUnicastMac(request.macAddress)) throw invalid(`invalid MAC address: ${request.macAddress.slice(0, 64)}`);
}

/** With the prefix length of its block. */
function linkLocalCidr(address: string): string {
  if (isIPv4(address) && address.startsWith('169.254.')) return `${address}/16`;
  if (isIPv6(address) && /^fe[89ab][0-9a-f]:/i.test(address)) return `${address}/64`;
  throw invalid(`invalid link-local address: ${address.slice(0, 64)}`);
}

function checkAddress(network: Network, address: string, v6: boolean): void {
  if (address === '') return;
  if (v6 ? !isIPv6(address) : !isIPv4(address)) throw invalid(`invalid IPv${v6 ? 6 : 4} address: ${address.slice(0, 64)}`);
  if (!isUserDefined(network)) throw invalid('user specified IP address is supported on user defined networks only');
  if (!network.ipam.config.some(({ subnet }) => subnet.includes(':') === v6))
    throw invalid('user specified IP address is supported only when connecting to networks with user configured subnets');
  if (v6 && !network.enableIpv6) throw invalid(`network ${network.name} has no IPv6`);
}

/** Six octets; a group address cannot be a link's own. */
const isUnicastMac = (text: string): boolean => /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(text) && (parseInt(text.slice(0, 2), 16) & 1) === 0;

/** What other containers of the network may call it. */
export function dnsNamesOf(network: Network, request: JoinRequest): string[] {
  if (!isUserDefined(network)) return [];
  const names = [request.containerName, ...request.aliases, request.containerId.slice(0, 12), request.hostname];
  return [...new Set(names.filter((name) => name !== ''))];
}

/** The state of an endpoint that has its addresses (with prefix length, '' for none) and nothing else yet. */
export function newState(network: Network, endpointId: string, request: JoinRequest, address: string, addressV6: string): EndpointState {
  const [ipAddress = '', prefix = '0'] = address.split('/');
  const [globalIpv6Address = '', prefixV6 = '0'] = addressV6.split('/');
  return {
    networkId: network.id,
    networkName: network.name,
    endpointId,
    gateway: '',
    ipAddress,
    ipPrefixLength: Number(prefix),
    ipv6Gateway: '',
    globalIpv6Address,
    globalIpv6PrefixLength: Number(prefixV6),
    macAddress: '',
    aliases: request.aliases,
    dnsNames: dnsNamesOf(network, request),
    links: request.links,
    driverOptions: request.driverOptions,
    gatewayPriority: request.gatewayPriority,
    requestedIpv4: request.ipv4Address,
    requestedIpv6: request.ipv6Address,
    published: [],
  };
}

/** The name that the link gets in the sandbox: the user's, or the driver's prefix and a number. */
export function interfaceNameFor(sandbox: Sandbox, info: JoinInfo, driverOptions: Readonly<Record<string, string>>): string {
  if (!info.link) return '';
  const chosen = driverOptions[IFNAME];
  if (chosen === undefined) return sandbox.freeInterfaceName(info.link.dstPrefix);
  if (!/^[A-Za-z][A-Za-z0-9_-]{0,14}$/.test(chosen) || chosen === 'lo') throw invalid(`invalid interface name: ${chosen.slice(0, 64)}`);
  if (sandbox.endpoints.some(({ interfaceName }) => interfaceName === chosen)) throw invalid(`interface name ${chosen} is taken`);
  return chosen;
}

/** `net.ipv4.conf.IFNAME.log_martians=1,…` as steps. Only the link's own keys: those of the namespace are the container's `--sysctl`. */
export function sysctlSteps(driverOptions: Readonly<Record<string, string>>, interfaceName: string): NetStep[] {
  const list = driverOptions[SYSCTLS];
  if (!list) return [];
  return list.split(',').map((entry): NetStep => {
    const match = /^net\.(ipv4|ipv6|mpls)\.(conf|neigh)\.IFNAME\.([a-z0-9_]+)=([-0-9]{1,20})$/.exec(entry.trim());
    if (!match) throw invalid(`unrecognised interface sysctl: ${entry.slice(0, 128)}`);
    return { op: 'sysctl', key: `${match[1]}/${match[2]}/${interfaceName}/${match[3]}`, value: match[4] ?? '' };
  });
}

/**
 * Turns IPv6 on for one link, which is born without. Routers that speak up are not believed, and nobody waits for a probe whether
 * an address is taken: those that were leased are nobody else's.
 */
const ipv6Steps = (link: string): NetStep[] =>
  [
    ['accept_ra', '0'],
    ['accept_dad', '0'],
    ['disable_ipv6', '0'],
  ].map(([key, value]): NetStep => ({ op: 'sysctl', key: `ipv6/conf/${link}/${key}`, value: value ?? '' }));

/** Brings the driver's link to the sandbox and gives it name, address and routes, in one visit. */
export async function configureLink(
  net: HostNet,
  sandbox: Sandbox,
  info: JoinInfo,
  { state, interfaceName }: { state: EndpointState; interfaceName: string },
  linkLocalAddresses: readonly string[],
  defaultRoutes: readonly NetStep[],
): Promise<void> {
  const { link } = info;
  if (!link) return;
  try {
    if (!link.inSandbox)
      await net.configure('', [
        {
          op: 'set-link',
          name: link.srcName,
          namespace: sandbox.path,
          ...(state.macAddress && { mac: state.macAddress }),
        },
      ]);
    await net.configure(sandbox.path, [
      { op: 'set-link', name: link.srcName, rename: interfaceName },
      ...sysctlSteps(state.driverOptions, interfaceName),
      ...(state.globalIpv6Address || linkLocalAddresses.some(isIPv6) ? ipv6Steps(interfaceName) : []),
      { op: 'set-link', name: interfaceName, up: true },
      ...(state.ipAddress
        ? [{ op: 'add-address', link: interfaceName, address: `${state.ipAddress}/${state.ipPrefixLength}` } as const]
        : []),
      ...(state.globalIpv6Address
        ? [{ op: 'add-address', link: interfaceName, address: `${state.globalIpv6Address}/${state.globalIpv6PrefixLength}` } as const]
        : []),
      ...linkLocalAddresses.map((address): NetStep => ({ op: 'add-address', link: interfaceName, address: linkLocalCidr(address) })),
      ...info.routes.map(({ destination, nextHop }): NetStep => ({
        op: 'add-route',
        destination,
        link: interfaceName,
        ...(nextHop !== undefined && { gateway: nextHop }),
      })),
      ...defaultRoutes,
    ]);
  } catch (error) {
    throw new EngineError(
      'system',
      `cannot configure interface ${interfaceName}: ${error instanceof Error ? error.message : String(error)}`,
      {
        cause: error,
      },
    );
  }
}
