import { isIPv6 } from 'node:net';
import type { NftFamily } from '@gantry/core/contracts/host-net.js';
import { type Elements, type FirewallNetwork, type FirewallPorts, networkElements, portElements } from './firewall.js';
import type { Change } from './firewall-keeper.js';
import type { BridgeOptions } from './options.js';
import type { PortReservation } from './ports.js';

const families: readonly NftFamily[] = ['ip', 'ip6'];

/** A container's place in a network. */
export interface Endpoint {
  /** Without prefix length; '' for none. */
  readonly address: string;
  readonly addressV6: string;
  readonly mac: string;
  reservation: PortReservation | undefined;
}

/** A network as the driver knows it. */
export interface BridgeNetwork {
  readonly bridge: string;
  readonly options: BridgeOptions;
  /** By family; a family that is missing is one that the network does not have. */
  readonly firewall: Partial<Record<NftFamily, FirewallNetwork>>;
  /** With prefix length; those that the bridge has itself. */
  readonly gateways: readonly string[];
  /** What containers are told of them. */
  readonly gateway: string | undefined;
  readonly gatewayV6: string | undefined;
  readonly internal: boolean;
  readonly endpoints: Map<string, Endpoint>;
}

/** What the firewall of one family is told of an endpoint's ports. */
export const portsIn = (
  family: NftFamily,
  { options }: BridgeNetwork,
  { address, addressV6 }: Endpoint,
  { ports, proxied }: PortReservation,
): FirewallPorts => {
  const own = ports.filter(({ hostIp }) => isIPv6(hostIp) === (family === 'ip6'));
  return {
    address: family === 'ip6' ? addressV6 : address,
    direct: options.trustedInterfaces.length > 0,
    // What only the proxy can do is not the kernel's.
    ports: (family === 'ip6' ? addressV6 : address) ? own.filter(({ hostIp }) => hostIp !== '::1') : [],
    proxied: proxied.length > 0 && family === 'ip6' ? own : [],
  };
};

/** What turns the tables from one state of a network to another; undefined for none. */
export const networkChange = (before: BridgeNetwork | undefined, after: BridgeNetwork | undefined): Change =>
  changeOf((family) => {
    const [old, own] = [before?.firewall[family], after?.firewall[family]];
    return [old && networkElements(old), own && networkElements(own)];
  });

/** The same of an endpoint's ports. */
export const portChange = (
  network: BridgeNetwork,
  endpoint: Endpoint,
  before: PortReservation | undefined,
  after: PortReservation | undefined,
): Change =>
  changeOf((family) => [
    before && portElements(portsIn(family, network, endpoint, before)),
    after && portElements(portsIn(family, network, endpoint, after)),
  ]);

/** A family without elements is left out, so that it needs no table. */
function changeOf(parts: (family: NftFamily) => [Elements | undefined, Elements | undefined]): Change {
  const change: Record<string, { remove?: Elements; add?: Elements }> = {};
  for (const family of families) {
    const [remove, add] = parts(family);
    const touched = [remove, add].some((elements) => elements && Object.values(elements).some((list) => list.length > 0));
    if (touched) change[family] = { ...(remove && { remove }), ...(add && { add }) };
  }
  return change;
}
