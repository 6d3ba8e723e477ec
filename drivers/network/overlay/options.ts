import { invalid } from '@gantry/core/contracts/errors.js';
import { unknownOption } from '../unknown-option.js';

/** In Docker's words; the list has one number here, since a network has one subnet of a family. */
export const VNI_OPTION = 'com.docker.network.driver.overlay.vxlanid_list';
const MTU_OPTION = 'com.docker.network.driver.mtu';
const SHORTEST_ROTATION = 60;
const LARGEST_VNI = 2 ** 24 - 1;

export interface OverlayOptions {
  /** 0 before one was allocated. */
  readonly vni: number;
  /** 0 for what fits the host's own link. */
  readonly mtu: number;
  readonly encrypted: boolean;
}

export function parseOptions(options: Readonly<Record<string, string>>): OverlayOptions {
  let [vni, mtu, encrypted] = [0, 0, false];
  for (const [key, value] of Object.entries(options)) {
    switch (key) {
      case VNI_OPTION:
        vni = Number(value);
        if (!/^\d{1,8}$/.test(value) || vni < 1 || vni > LARGEST_VNI)
          throw invalid(`invalid ${VNI_OPTION}: ${JSON.stringify(value.slice(0, 64))} (one number from 1 to ${LARGEST_VNI})`);
        break;
      case MTU_OPTION:
        mtu = Number(value);
        if (!/^\d{1,5}$/.test(value) || (mtu !== 0 && (mtu < 68 || mtu > 65_535)))
          throw invalid(`invalid mtu: ${JSON.stringify(value.slice(0, 64))}`);
        break;
      case 'encrypted':
        // `--opt encrypted` comes as ''.
        if (!['', '1', 'true', '0', 'false'].includes(value)) throw invalid(`invalid encrypted: ${JSON.stringify(value.slice(0, 64))}`);
        encrypted = value !== '0' && value !== 'false';
        break;
      default:
        if (!key.startsWith('com.docker.')) throw unknownOption('overlay', key, [VNI_OPTION, MTU_OPTION, 'encrypted']);
    }
  }
  return { vni, mtu, encrypted };
}

/** What the cluster's options say about all overlay networks; every engine must have the same. */
export interface OverlaySettings {
  /** UDP ports of plain and of encrypted networks. */
  readonly port: number;
  readonly securePort: number;
  /** How long a key encrypts. */
  readonly rotationSeconds: number;
}

export function parseSettings(options: Readonly<Record<string, string>>): OverlaySettings {
  const words: Record<string, number> = { port: 4789, 'secure-port': 4788, 'key-rotation': 12 * 3600 };
  for (const [key, value] of Object.entries(options)) {
    // What all network drivers are told.
    if (key === 'ip-forward') continue;
    if (!Object.hasOwn(words, key))
      throw unknownOption(
        'overlay',
        `overlay.${key}`,
        Object.keys(words).map((word) => `overlay.${word}`),
      );
    const number = Number(value);
    if (!/^\d{1,7}$/.test(value) || number < 1 || (key.endsWith('port') && number > 65_535))
      throw invalid(`invalid overlay.${key}: ${JSON.stringify(value.slice(0, 64))}`);
    words[key] = number;
  }
  // Two keys are known at a time, and an epoch that was begun with one is used a while after.
  if ((words['key-rotation'] ?? 0) < SHORTEST_ROTATION) throw invalid(`overlay.key-rotation must be at least ${SHORTEST_ROTATION} seconds`);
  const { port = 0, 'secure-port': securePort = 0, 'key-rotation': rotationSeconds = 0 } = words;
  if (port === securePort) throw invalid('overlay.port and overlay.secure-port must differ: encryption is told by the port');
  return { port, securePort, rotationSeconds };
}
