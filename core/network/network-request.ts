import { isIP } from 'node:net';
import { EngineError, invalid, notImplemented } from '../contracts/errors.js';
import type { CreateNetworkRequest, IpamConfig } from './networks.js';

/** Names that mean something else in `--network`. */
export const predefinedNames: ReadonlySet<string> = new Set(['bridge', 'host', 'none', 'default', 'container', 'nat']);

const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;

/** Refuses what cannot become a network; the driver and IPAM judge their own parts later. */
export function checkRequest(request: CreateNetworkRequest): void {
  const { name } = request;
  if (name.trim() === '') throw invalid('invalid network name: name is empty');
  if (predefinedNames.has(name)) throw new EngineError('forbidden', `operation is not permitted on predefined ${name} network`);
  if (!NAME.test(name) || name.length > 255)
    throw invalid(`invalid network name ${JSON.stringify(name.slice(0, 128))}: only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed`);
  if (!['', 'local', 'global'].includes(request.scope)) throw notImplemented(`networks of scope ${request.scope.slice(0, 32)}`);
  if (request.ingress) throw notImplemented('ingress networks');
  if (request.configFrom !== '') checkDependent(request);
  if (!request.enableIpv4 && !request.enableIpv6) throw invalid('IPv4 or IPv6 must be enabled');
  for (const config of request.ipam.config) checkPool(config);
}

/** A network that takes its configuration from another one brings none of its own. */
function checkDependent({ configOnly, enableIpv6, ipam, options, labels }: CreateNetworkRequest): void {
  if (configOnly) throw new EngineError('forbidden', 'a configuration network cannot depend on another configuration network');
  const own = [ipam.config, Object.keys(ipam.options), Object.keys(options), Object.keys(labels)].some((part) => part.length > 0);
  if (own || enableIpv6 || (ipam.driver !== '' && ipam.driver !== 'default'))
    throw new EngineError('forbidden', 'user specified configurations are not supported if the network depends on a configuration network');
}

/** The request with what a configuration network says. */
export function configuredBy(request: CreateNetworkRequest, from: CreateNetworkRequest): CreateNetworkRequest {
  if (!from.configOnly) throw new EngineError('forbidden', `network ${from.name} is not a configuration network`);
  const { ipam, options, labels, enableIpv4, enableIpv6, internal } = from;
  return { ...request, ipam, options, labels, enableIpv4, enableIpv6, internal: internal || request.internal };
}

/** What Docker does with a subnet of a family that is not enabled; people's files have such subnets. */
export function ignoredSubnets({ enableIpv4, enableIpv6, ipam }: CreateNetworkRequest): string[] {
  return ipam.config.map(({ subnet }) => subnet).filter((subnet) => !(subnet.includes(':') ? enableIpv6 : enableIpv4));
}

function checkPool({ subnet, ipRange, gateway, auxAddresses }: IpamConfig): void {
  if (subnet === '') throw invalid('invalid network config: subnet is required in an IPAM configuration');
  const family = isIP(subnet.split('/')[0] ?? '');
  if (family === 0 || !/^[^/]+\/\d{1,3}$/.test(subnet))
    throw invalid(`invalid network config: invalid subnet ${subnet.slice(0, 64)}: not in CIDR notation`);
  const others: [string, string][] = [['ip-range', ipRange.split('/')[0] ?? ''], ['gateway', gateway], ...Object.entries(auxAddresses)];
  for (const [what, address] of others)
    if (address !== '' && isIP(address) !== family)
      throw invalid(`invalid network config: ${what} ${address.slice(0, 64)} is no IPv${family} address`);
}
