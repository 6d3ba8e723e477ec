import { describe, expect, it } from 'vitest';
import { type EndpointFlags, parseHost, resolveEndpoint } from './endpoint.js';
import { parseReference, withDefaultTag } from './reference.js';

const flags = (changes: Partial<EndpointFlags> = {}): EndpointFlags => ({
  hosts: [],
  config: undefined,
  tls: undefined,
  tlsVerify: undefined,
  tlsCa: undefined,
  tlsCert: undefined,
  tlsKey: undefined,
  ...changes,
});

describe('the endpoint', () => {
  it('is what the flag says, then GANTRY_HOST, then DOCKER_HOST, then the default', () => {
    const env = { GANTRY_HOST: 'unix:///g', DOCKER_HOST: 'unix:///d' };
    expect(resolveEndpoint(flags({ hosts: ['unix:///f'] }), env)).toMatchObject({ url: 'unix:///f', isDefault: false });
    expect(resolveEndpoint(flags(), env).address).toEqual({ path: '/g' });
    expect(resolveEndpoint(flags(), { DOCKER_HOST: 'unix:///d' }).address).toEqual({ path: '/d' });
    expect(resolveEndpoint(flags(), {})).toMatchObject({ address: { path: '/run/gantry/gantry.sock' }, isDefault: true });
    expect(() => resolveEndpoint(flags({ hosts: ['a', 'b'] }), {})).toThrow('specify only one -H');
  });

  it.each([
    ['tcp://1.2.3.4:99', { host: '1.2.3.4', port: 99 }],
    ['tcp://host', { host: 'host', port: 2375 }],
    ['https://host', { host: 'host', port: 2376 }],
    ['tcp://[::1]:99', { host: '::1', port: 99 }],
    ['host:99', { host: 'host', port: 99 }],
    ['/a/socket', { path: '/a/socket' }],
    ['unix://relative', { path: 'relative' }],
  ])('%s', (text, address) => expect(parseHost(text)).toEqual(address));

  it.each(['ftp://x', 'tcp://host:port', 'ssh://host', 'tcp://host:0'])('%s cannot be reached', (text) =>
    expect(() => parseHost(text)).toThrow('unable to'),
  );

  it('takes TLS from flags and environment, for addresses of the network only', () => {
    const env = { DOCKER_TLS_VERIFY: '1', DOCKER_CERT_PATH: '/certs' };
    expect(resolveEndpoint(flags({ hosts: ['tcp://h:1'] }), env).tls).toMatchObject({ verify: true, ca: '/certs/ca.pem', named: false });
    expect(resolveEndpoint(flags({ hosts: ['tcp://h:1'], tls: true, tlsCa: '/my.pem' }), {}).tls).toMatchObject({
      verify: false,
      ca: '/my.pem',
      named: true,
    });
    expect(resolveEndpoint(flags({ hosts: ['tcp://h:1'], tlsVerify: false }), env).tls).toBeUndefined();
    expect(resolveEndpoint(flags({ hosts: ['unix:///x'] }), env).tls).toBeUndefined();
  });
});

describe("an image's name", () => {
  it.each([
    ['busybox', 'busybox:latest'],
    ['docker.io/library/busybox:1', 'busybox:1'],
    ['host:5000/a/b', 'host:5000/a/b:latest'],
    [`a@sha256:${'0'.repeat(64)}`, `a@sha256:${'0'.repeat(64)}`],
  ])('%s is %s', (text, whole) => expect(withDefaultTag(text)).toBe(whole));

  it.each([
    ['UPPER', 'must be lowercase'],
    ['a::b', 'invalid reference format'],
    ['a b', 'invalid reference format'],
    ['', 'invalid reference format'],
    ['a@sha256:short', 'invalid reference format'],
    ['f'.repeat(64), 'cannot specify 64-byte hexadecimal strings'],
  ])('%s is refused', (text, message) => expect(() => parseReference(text)).toThrow(message));
});
