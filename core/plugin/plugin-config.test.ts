import { describe, expect, it } from 'vitest';
import { parsePluginConfig, pluginConfigJson } from './plugin-config.js';
import { checkAgreed, privilegesOf } from './plugin-privileges.js';
import { applySettings, carriedOver, initialSettings } from './plugin-settings.js';

const document = (change: object = {}): Buffer =>
  Buffer.from(
    JSON.stringify({
      interface: { types: ['docker.volumedriver/1.0'], socket: 'plugin.sock' },
      entrypoint: ['/plugin'],
      mounts: [
        { name: 'data', source: '/data', destination: '/mnt/./data', type: 'bind', options: ['rbind'], settable: ['source'] },
        { name: 'free', source: null, destination: '/free', settable: ['source'] },
      ],
      env: [
        { name: 'LEVEL', value: 'info', settable: ['value'] },
        { name: 'FIXED', value: '1' },
        { name: 'UNSET', settable: ['value'] },
      ],
      args: { name: 'args', value: ['-v'], settable: ['value'] },
      linux: { capabilities: ['sys_admin', 'CAP_SYS_ADMIN'], devices: [{ name: 'fuse', path: '/dev/fuse', settable: ['path'] }] },
      ...change,
    }),
  );
const config = (change: object = {}) => parsePluginConfig(document(change));

describe("a plugin's configuration", () => {
  it('is read whatever the case of its keys, and written as it came from a registry', () => {
    const upper = JSON.parse(document().toString().replaceAll('"entrypoint"', '"Entrypoint"').replaceAll('"mounts"', '"Mounts"')) as object;
    const parsed = parsePluginConfig(Buffer.from(JSON.stringify(upper)));
    expect(parsed).toEqual(config());
    expect(parsed.mounts[0]).toMatchObject({ destination: '/mnt/data', source: '/data' });
    expect(parsed.capabilities).toEqual(['CAP_SYS_ADMIN']);
    const written = pluginConfigJson(parsed, ['sha256:0'], '1');
    expect(parsePluginConfig(Buffer.from(JSON.stringify(written)))).toEqual(parsed);
  });

  it.each([
    ['two spellings of a key', Buffer.from('{"interface":{},"Interface":{}}'), '"interface" twice'],
    ['no interface', document({ interface: undefined }), 'has no interface'],
    [
      'a socket that leaves its folder',
      document({ interface: { types: ['docker.x/1'], socket: '../x' } }),
      'cannot be the name of a socket',
    ],
    ['a type of another form', document({ interface: { types: ['volumedriver'], socket: 'x' } }), 'prefix.capability/version'],
    ['no program', document({ entrypoint: [] }), 'no entrypoint'],
    ['a program that is no list', document({ entrypoint: '/plugin' }), 'is not a list'],
    ['an unknown network', document({ network: { type: 'mine' } }), 'network type "mine" is not known'],
    ['an unknown capability', document({ linux: { capabilities: ['CAP_ALL_OF_IT'] } }), 'unknown capability'],
    ['a relative destination', document({ mounts: [{ destination: 'x' }] }), 'no absolute path'],
    ['a relative propagated mount', document({ propagatedMount: 'x' }), 'no absolute path'],
    ['no JSON', Buffer.from('{'), 'is not valid JSON'],
  ])('with %s is refused', (_, bytes, message) => {
    expect(() => parsePluginConfig(bytes)).toThrow(message);
  });
});

describe('what a plugin asks for', () => {
  it('is all that reaches beyond its own box', () => {
    const wanted = privilegesOf(config({ network: { type: 'host' }, pidHost: true, ipcHost: true }));
    expect(wanted.map(({ name, value }) => `${name}: ${value.join(' ')}`)).toEqual([
      'network: host',
      'host ipc namespace: true',
      'host pid namespace: true',
      'mount: /data',
      'device: /dev/fuse',
      'capabilities: CAP_SYS_ADMIN',
    ]);
  });

  it('is agreed to as a whole or not at all, in any order', () => {
    const wanted = privilegesOf(config());
    checkAgreed(wanted, wanted.toReversed());
    for (const agreed of [[], wanted.slice(1), wanted.slice(0, -1), [...wanted, ...wanted.slice(0, 1)]])
      expect(() => checkAgreed(wanted, agreed)).toThrow('incorrect privileges');
    expect(() => checkAgreed(wanted, [{ ...wanted[0], name: 'mount', description: '', value: ['/'] }, ...wanted.slice(1)])).toThrow();
  });
});

describe("a plugin's settings", () => {
  it('are what its author and then its user says', () => {
    const author = config();
    const settings = applySettings(author, initialSettings(author), [
      'LEVEL=debug',
      'UNSET=x=y',
      'free.source=/srv',
      'fuse=/dev/x',
      'args=-a b',
    ]);
    expect(settings).toMatchObject({ env: ['LEVEL=debug', 'FIXED=1', 'UNSET=x=y'], args: ['-a', 'b'] });
    expect([settings.mounts[1]?.source, settings.devices[0]?.path]).toEqual(['/srv', '/dev/x']);
  });

  it.each([
    ['FIXED=2', '"FIXED" is not settable'],
    ['data.options=ro', '"data.options" is not settable'],
    ['nothing=1', 'setting "nothing" not found'],
    ['LEVEL', 'NAME[.field]=value is expected'],
    ['data=relative', 'must be an absolute path'],
  ])('refuse %s', (change, message) => {
    expect(() => applySettings(config(), initialSettings(config()), [change])).toThrow(message);
  });

  it('go over to another version as far as it has them', () => {
    const old = config();
    const settings = applySettings(old, initialSettings(old), ['LEVEL=debug', 'UNSET=1', 'data=/other']);
    const next = config({
      env: [
        { name: 'LEVEL', value: 'warn', settable: ['value'] },
        { name: 'NEW', value: '1' },
      ],
    });
    expect(carriedOver({ config: old, settings }, next)).toMatchObject({ env: ['LEVEL=debug', 'NEW=1'] });
    expect(carriedOver({ config: old, settings }, next).mounts[0]?.source).toBe('/other');
  });
});
