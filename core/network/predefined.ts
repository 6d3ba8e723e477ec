import { newId } from '../contracts/ids.js';
import type { Settings } from '../system/settings.js';
import type { Network } from './networks.js';

const blank = {
  scope: 'local',
  enableIpv4: true,
  enableIpv6: false,
  internal: false,
  attachable: false,
  ingress: false,
  configOnly: false,
  configFrom: '',
  labels: {},
  ipv4: [],
  ipv6: [],
} as const;

const made = (name: string, driver: string): Network => ({
  ...blank,
  id: newId(),
  created: new Date().toISOString(),
  name,
  driver,
  ipam: { driver: 'default', options: {}, config: [] },
  options: {},
});

export const hostNetworkRecord = (): Network => made('host', 'host');
export const noneNetworkRecord = (): Network => made('none', 'null');

/** The default network as the settings want it, before it has addresses. */
export function defaultNetwork(settings: Settings): Network {
  const gateway = settings.bip.split('/')[0] ?? '';
  return {
    ...made('bridge', 'bridge'),
    enableIpv6: settings.ipv6,
    options: {
      'com.docker.network.bridge.default_bridge': 'true',
      'com.docker.network.bridge.enable_icc': String(settings.icc),
      'com.docker.network.bridge.enable_ip_masquerade': String(settings.ipMasquerade),
      'com.docker.network.bridge.host_binding_ipv4': settings.defaultHostIp || '0.0.0.0',
      'com.docker.network.bridge.name': settings.bridge,
      'com.docker.network.driver.mtu': String(settings.mtu),
    },
    ipam: {
      driver: 'default',
      options: {},
      config: [
        ...(settings.bip !== '' || settings.fixedCidr !== ''
          ? [
              {
                subnet: settings.bip || settings.fixedCidr,
                ipRange: settings.bip === '' ? '' : settings.fixedCidr,
                gateway,
                auxAddresses: {},
              },
            ]
          : []),
        ...(settings.ipv6 && settings.fixedCidrV6 !== ''
          ? [{ subnet: settings.fixedCidrV6, ipRange: '', gateway: '', auxAddresses: {} }]
          : []),
      ],
    },
  };
}

/** Whether a kept default network is what the settings want now. */
export const sameWish = (kept: Network, wanted: Network): boolean =>
  JSON.stringify([kept.options, kept.ipam, kept.enableIpv6]) === JSON.stringify([wanted.options, wanted.ipam, wanted.enableIpv6]);
