import { invalid, notImplemented } from '@gantry/core/contracts/errors.js';

/** What a bridge network's options say, with Docker's defaults. */
export interface BridgeOptions {
  /** '' for one that follows from the network's id. */
  readonly bridgeName: string;
  readonly icc: boolean;
  readonly masquerade: boolean;
  /** Where ports are published when the user gives no address; '' for everywhere. */
  readonly hostBinding: string;
  /** 0 for the kernel's default. */
  readonly mtu: number;
  /** Links in the sandbox are called this and a number. */
  readonly interfacePrefix: string;
}

const BRIDGE = 'com.docker.network.bridge.';

/** Link names that the kernel takes and that are safe as a part of a path below /proc/sys. */
const LINK_NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,14}$/;

export function parseOptions(options: Readonly<Record<string, string>>): BridgeOptions {
  const parsed = { bridgeName: '', icc: true, masquerade: true, hostBinding: '', mtu: 0, interfacePrefix: 'eth' };
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
        if (!/^\d{1,3}(\.\d{1,3}){3}$/.test(value)) throw invalid(`invalid address in ${key}: ${JSON.stringify(value.slice(0, 64))}`);
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
        if (value !== 'nat' && value !== '') throw notImplemented(`gateway mode ${value} of bridge networks`);
        break;
      case `${BRIDGE}inhibit_ipv4`:
        if (parseFlag(key, value)) throw notImplemented(`option ${key}`);
        break;
      case 'com.docker.network.host_ipv4':
        if (value !== '') throw notImplemented(`option ${key}`);
        break;
      default:
        // Docker ignores words it does not know in its own name space, and tools write such words.
        if (!key.startsWith('com.docker.')) throw invalid(`unknown option of the bridge driver: ${key.slice(0, 128)}`);
    }
  }
  return parsed;
}

/** The spellings that Go's strconv.ParseBool takes, since clients write them. */
function parseFlag(key: string, value: string): boolean {
  if (['1', 't', 'T', 'TRUE', 'true', 'True'].includes(value)) return true;
  if (['0', 'f', 'F', 'FALSE', 'false', 'False'].includes(value)) return false;
  throw invalid(`invalid value of ${key}: ${JSON.stringify(value.slice(0, 64))}`);
}
