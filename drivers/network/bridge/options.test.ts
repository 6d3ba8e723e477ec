import { describe, expect, it } from 'vitest';
import { parseOptions } from './options.js';

describe('options of a bridge network', () => {
  it('have Docker defaults', () => {
    expect(parseOptions({})).toEqual({
      bridgeName: '',
      icc: true,
      masquerade: true,
      inhibitIpv4: false,
      trustedInterfaces: [],
      hostBinding: '',
      mtu: 0,
      interfacePrefix: 'eth',
      gatewayMode: 'nat',
      gatewayModeV6: 'nat',
      sourceAddress: '',
      sourceAddressV6: '',
    });
  });

  it('are read in every spelling that clients write', () => {
    expect(
      parseOptions({
        'com.docker.network.bridge.name': 'br.test-0',
        'com.docker.network.bridge.enable_icc': 'F',
        'com.docker.network.bridge.enable_ip_masquerade': '0',
        'com.docker.network.bridge.host_binding_ipv4': '127.0.0.1',
        'com.docker.network.driver.mtu': '1400',
        'com.docker.network.container_iface_prefix': 'net',
        'com.docker.network.bridge.default_bridge': 'true',
        'com.docker.network.bridge.inhibit_ipv4': '1',
        'com.docker.network.bridge.trusted_host_interfaces': 'eth0:vpn.1:eth0',
        'com.docker.something.new': 'x',
      }),
    ).toMatchObject({
      bridgeName: 'br.test-0',
      icc: false,
      masquerade: false,
      hostBinding: '127.0.0.1',
      mtu: 1400,
      interfacePrefix: 'net',
      inhibitIpv4: true,
      trustedInterfaces: ['eth0', 'vpn.1'],
    });
  });

  it.each([
    [{ foo: 'bar' }, 'invalid-parameter'],
    [{ 'com.docker.network.bridge.name': '../../etc' }, 'invalid-parameter'],
    [{ 'com.docker.network.bridge.name': 'a'.repeat(16) }, 'invalid-parameter'],
    [{ 'com.docker.network.bridge.name': 'a b' }, 'invalid-parameter'],
    [{ 'com.docker.network.bridge.enable_icc': 'maybe' }, 'invalid-parameter'],
    [{ 'com.docker.network.bridge.host_binding_ipv4': 'x; drop' }, 'invalid-parameter'],
    [{ 'com.docker.network.driver.mtu': '-1' }, 'invalid-parameter'],
    [{ 'com.docker.network.container_iface_prefix': 'eth0/..' }, 'invalid-parameter'],
    [{ 'com.docker.network.bridge.gateway_mode_ipv4': 'router' }, 'invalid-parameter'],
    [{ 'com.docker.network.bridge.inhibit_ipv4': 'yes' }, 'invalid-parameter'],
    [{ 'com.docker.network.bridge.trusted_host_interfaces': 'eth0:../..' }, 'invalid-parameter'],
    [{ 'com.docker.network.host_ipv6': '10.0.0.1' }, 'invalid-parameter'],
  ])('%j are refused', (options, kind) => {
    expect(() => parseOptions(options)).toThrow(expect.objectContaining({ kind }));
  });
});
