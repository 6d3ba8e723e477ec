import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { routeTo } from './address.js';
import { listNames, locate, type PluginFolders } from './discovery.js';

let root: string;
let folders: PluginFolders;
const servers: Server[] = [];

const path = (...parts: string[]): string => join(root, ...parts);
const write = (file: string, text: string): void => {
  mkdirSync(join(file, '..'), { recursive: true });
  writeFileSync(file, text, { mode: 0o644 });
};
const listenOn = async (file: string): Promise<void> => {
  mkdirSync(join(file, '..'), { recursive: true });
  const server = createServer();
  servers.push(server);
  await new Promise<void>((done) => server.listen(file, done));
};

beforeEach(() => {
  root = mkdtempSync('/tmp/gantry-discovery-');
  folders = { sockets: [path('run')], specifications: [path('etc'), path('usr')] };
  for (const folder of ['run', 'etc', 'usr']) mkdirSync(path(folder), { mode: 0o755 });
});
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
  rmSync(root, { recursive: true, force: true });
});

describe('a plugin is looked for', () => {
  it('as a socket, in the folder or in one of its name', async () => {
    await listenOn(path('run', 'one.sock'));
    await listenOn(path('run', 'two', 'two.sock'));
    expect(locate(folders, 'one')).toMatchObject({ address: `unix://${path('run', 'one.sock')}` });
    expect(locate(folders, 'two')).toMatchObject({ address: `unix://${path('run', 'two', 'two.sock')}` });
    expect(locate(folders, 'three')).toBeUndefined();
    expect(listNames(folders)).toEqual(['one', 'two']);
  });

  it('and never takes a plain file for a socket', () => {
    write(path('run', 'file.sock'), '');
    expect(locate(folders, 'file')).toBeUndefined();
  });

  it('over a link to a socket', async () => {
    await listenOn(path('elsewhere.sock'));
    symlinkSync(path('elsewhere.sock'), path('run', 'linked.sock'));
    expect(locate(folders, 'linked')).toMatchObject({ address: `unix://${path('run', 'linked.sock')}` });
  });

  it('as .spec, which holds one address', () => {
    write(path('etc', 'far.spec'), ' tcp://127.0.0.1:7000\n');
    expect(locate(folders, 'far')).toMatchObject({ address: 'tcp://127.0.0.1:7000', source: path('etc', 'far.spec') });
  });

  it('as .json with TLS, names in any case, and without CAFile unverified', () => {
    write(
      path('usr', 'safe.json'),
      '{"name":"other","ADDR":"https://plugins.test:1","TLSConfig":{"CAFile":"/ca","certfile":"/c","KeyFile":"/k"}}',
    );
    expect(locate(folders, 'safe')).toMatchObject({
      name: 'safe',
      tls: { insecureSkipVerify: false, caFile: '/ca', certFile: '/c', keyFile: '/k' },
    });
    write(path('usr', 'lax.json'), '{"Addr":"https://plugins.test:1","TLSConfig":{}}');
    expect(locate(folders, 'lax')?.tls).toEqual({ insecureSkipVerify: true });
  });

  it.each([
    ['a .spec without a scheme', 'bad.spec', 'somewhere'],
    ['an empty .spec', 'bad.spec', ''],
    ['a .json that is none', 'bad.json', '{"Addr":'],
    ['a .json that is a list', 'bad.json', '[]'],
    ['a .json without Addr', 'bad.json', '{}'],
    ['TLS that is no object', 'bad.json', '{"Addr":"https://h:1","TLSConfig":7}'],
    ['a CAFile that is no text', 'bad.json', '{"Addr":"https://h:1","TLSConfig":{"CAFile":1}}'],
  ])('and %s is told with its file', (_, file, text) => {
    write(path('etc', file), text);
    expect(() => locate(folders, 'bad')).toThrow(`plugin bad: cannot read ${path('etc', file)}`);
  });

  it('and of two that say different things none is taken', async () => {
    await listenOn(path('run', 'twice.sock'));
    write(path('etc', 'twice.spec'), 'tcp://127.0.0.1:7000');
    expect(() => locate(folders, 'twice')).toThrow(/plugin twice is there twice/);
    write(path('etc', 'twice.spec'), `unix://${path('run', 'twice.sock')}`);
    expect(locate(folders, 'twice')).toBeDefined();
  });

  it.each(['..', '../etc/x', 'a/b', '', '.hidden', 'x'.repeat(256), 'nul\0'])('and never by a name that leads away: %j', (name) => {
    expect(locate(folders, name)).toBeUndefined();
  });
});

describe.runIf(process.getuid?.() === 0)('what a stranger put there is refused', () => {
  it('a socket that belongs to another user', async () => {
    await listenOn(path('run', 'theirs.sock'));
    chownSync(path('run', 'theirs.sock'), 1000, 1000);
    expect(() => locate(folders, 'theirs')).toThrow(/belongs to user 1000/);
  });

  it('anything in a folder that others can write', () => {
    write(path('etc', 'open.spec'), 'tcp://127.0.0.1:7000');
    chmodSync(path('etc'), 0o777);
    expect(() => locate(folders, 'open')).toThrow(/can be written by others/);
  });

  it('a specification in a folder of another user', () => {
    write(path('etc', 'open', 'open.spec'), 'tcp://127.0.0.1:7000');
    chownSync(path('etc', 'open'), 1000, 1000);
    expect(() => locate(folders, 'open')).toThrow(/belongs to user 1000/);
  });

  it('a specification that leads to a socket of another user', async () => {
    await listenOn(path('away.sock'));
    chownSync(path('away.sock'), 1000, 1000);
    write(path('etc', 'away.spec'), `unix://${path('away.sock')}`);
    expect(() => locate(folders, 'away')).toThrow(/belongs to user 1000/);
  });
});

describe('an address', () => {
  const at = (address: string) => routeTo({ name: 'p', address, source: '/etc/p.spec' });

  it('is a socket, or a port of this host', () => {
    expect(at('unix:///run/p.sock').socketPath).toBe('/run/p.sock');
    expect(at('tcp://127.0.0.1:7').options).toMatchObject({ host: '127.0.0.1', port: 7 });
    expect(at('tcp://[::1]:7').options).toMatchObject({ host: '::1', port: 7 });
    expect(at('https://plugins.test:8/dropped').options).toMatchObject({ host: 'plugins.test', port: 8 });
  });

  it.each(['tcp://192.0.2.1:7', 'http://plugins.test'])('of another host without TLS is refused: %s', (address) => {
    expect(() => at(address)).toThrow(/without TLS/);
  });

  it.each(['ftp://h', 'p', 'unix://relative', 'tcp://h:port'])('that is none is refused with its file: %s', (address) => {
    expect(() => at(address)).toThrow('/etc/p.spec');
  });
});
