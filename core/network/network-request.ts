import { EngineError, invalid, notImplemented } from '../contracts/errors.js';
import type { CreateNetworkRequest } from './networks.js';

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
  if (request.scope !== '' && request.scope !== 'local') throw notImplemented(`networks of scope ${request.scope.slice(0, 32)}`);
  if (request.ingress) throw notImplemented('ingress networks');
  if (request.configOnly || request.configFrom !== '') throw notImplemented('configuration-only networks');
  if (request.enableIpv6) throw notImplemented('IPv6 networks');
  if (!request.enableIpv4) throw notImplemented('networks without IPv4');
  for (const config of request.ipam.config) {
    if (config.subnet === '') throw invalid('invalid network config: subnet is required in an IPAM configuration');
    if (config.subnet.includes(':')) throw notImplemented('IPv6 networks');
  }
}
