import { isIPv4, isIPv6 } from 'node:net';
import { invalid } from '@gantry/core/contracts/errors.js';
import { unknownOption } from '../unknown-option.js';

/**
 * How a network is reached in one family. `nat`: outside under the host's address, from outside at published ports.
 * `nat-unprotected`: from outside at every port too. `routed`: both under the containers' own addresses, from outside at published
 * ports only. `isolated`: not even the host is in it.
 */
export type GatewayMode = 'nat' | 'nat-unprotected' | 'routed' | 'isolated';

const gatewayModes: readonly string[] = ['nat', 'nat-unprotected', 'routed', 'isolated'];

/** What a bridge network's options say, with Docker's defaults. */
export interface BridgeOptions {
  /** '' for one that follows from the network's id. */
  readonly bridgeName: string;
  readonly icc: boolean;
  readonly masquerade: boolean;
  /** The bridge gets no IPv4 address: the gateway that containers are told of is somebody else on it. */
  readonly inhibitIpv4: boolean;
  /** Links of the host from which published ports are reached at the containers' own addresses too. */
  readonly trustedInterfaces: readonly string[];
  /** Where ports are published when the user gives no address; '' for everywhere. */
  readonly hostBinding: string;
  /** 0 for the kernel's default. */
  readonly mtu: number;
  readonly gatewayMode: GatewayMode;
  readonly gatewayModeV6: GatewayMode;
  /** Where packets to outside come from, instead of the address of the link that they leave by; '' for that. */
  readonly sourceAddress: string;
  readonly sourceAddressV6: string;
  /** Links in the sandbox are called this and a number. */
  readonly interfacePrefix: string;
}

const BRIDGE = 'com.docker.network.bridge.';

/** For whoever writes one of them a little differently. */
const KNOWN = [
  'name',
  'enable_icc',
  'enable_ip_masquerade',
  'host_binding_ipv4',
  'gateway_mode_ipv4',
  'gateway_mode_ipv6',
  'inhibit_ipv4',
  'trusted_host_interfaces',
]
  .map((name) => BRIDGE + name)
  .concat(['driver.mtu', 'container_iface_prefix', 'host_ipv4', 'host_ipv6'].map((name) => `com.docker.network.${name}`));

/** Link names that the kernel takes and that are safe as a part of a path below /proc/sys. */
const LINK_NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,14}$/;

export function parseOptions(options: Readonly<Record<string, string>>): BridgeOptions {
  const parsed = {
    bridgeName: '',
    icc: true,
    masquerade: true,
    inhibitIpv4: false,
    trustedInterfaces: [] as readonly string[],
    hostBinding: '',
    mtu: 0,
    gatewayMode: 'nat' as GatewayMode,
    gatewayModeV6: 'nat' as GatewayMode,
    sourceAddress: '',
    sourceAddressV6: '',
    interfacePrefix: 'eth',
  };
  for (const [key, value] of Object.entries(options)) {
    switch (key) {
      case `${BRIDGE}name`:
        if (!LINK_NAME.test(value)) throw invalid(`invalid bridge name: ${JSON.stringify(value.slice(0, 64))}`);
        parsed.bridgeName = value;
        break;
      case `${BRIDGE}enable_icc`:
        parsed.icc = parseFlag(key, value);
        break;
      case `${BRIDGE}enable_ip_masquerade`:
        parsed.masquerade = parseFlag(key, value);
        break;
      case `${BRIDGE}host_binding_ipv4`:
        if (!isIPv4(value)) throw invalid(`invalid address in ${key}: ${JSON.stringify(value.slice(0, 64))}`);
        parsed.hostBinding = value;
        break;
      case 'com.docker.network.driver.mtu':
        if (!/^\d{1,5}$/.test(value) || (Number(value) !== 0 && (Number(value) < 68 || Number(value) > 65535)))
          throw invalid(`invalid mtu: ${JSON.stringify(value.slice(0, 64))}`);
        parsed.mtu = Number(value);
        break;
      case 'com.docker.network.container_iface_prefix':
        if (!/^[A-Za-z][A-Za-z0-9_-]{0,10}$/.test(value)) throw invalid(`invalid interface prefix: ${JSON.stringify(value.slice(0, 64))}`);
        parsed.interfacePrefix = value;
        break;
      case `${BRIDGE}gateway_mode_ipv4`:
        parsed.gatewayMode = parseMode(key, value);
        break;
      case `${BRIDGE}gateway_mode_ipv6`:
        parsed.gatewayModeV6 = parseMode(key, value);
        break;
      case `${BRIDGE}inhibit_ipv4`:
        parsed.inhibitIpv4 = parseFlag(key, value);
        break;
      case `${BRIDGE}trusted_host_interfaces`:
        parsed.trustedInterfaces = parseLinks(key, value);
        break;
      case 'com.docker.network.host_ipv4':
        if (value !== '' && !isIPv4(value)) throw invalid(`invalid address in ${key}: ${JSON.stringify(value.slice(0, 64))}`);
        parsed.sourceAddress = value;
        break;
      case 'com.docker.network.host_ipv6':
        if (value !== '' && !isIPv6(value)) throw invalid(`invalid address in ${key}: ${JSON.stringify(value.slice(0, 64))}`);
        parsed.sourceAddressV6 = value;
        break;
      default:
        // Docker ignores words it does not know in its own name space, and tools write such words.
        if (!key.startsWith('com.docker.')) throw unknownOption('bridge', key, KNOWN);
    }
  }
  return parsed;
}

function parseMode(key: string, value: string): GatewayMode {
  if (value === '') return 'nat';
  if (!gatewayModes.includes(value)) throw invalid(`unknown gateway mode ${JSON.stringify(value.slice(0, 64))} in ${key}`);
  return value as GatewayMode;
}

/** Names of links between colons. */
function parseLinks(key: string, value: string): string[] {
  const names = value.split(':').filter((name) => name !== '');
  for (const name of names)
    if (!LINK_NAME.test(name)) throw invalid(`invalid interface name in ${key}: ${JSON.stringify(name.slice(0, 64))}`);
  return [...new Set(names)];
}

/** The spellings that Go's strconv.ParseBool takes, since clients write them. */
function parseFlag(key: string, value: string): boolean {
  if (['1', 't', 'T', 'TRUE', 'true', 'True'].includes(value)) return true;
  if (['0', 'f', 'F', 'FALSE', 'false', 'False'].includes(value)) return false;
  throw invalid(`invalid value of ${key}: ${JSON.stringify(value.slice(0, 64))}`);
}
