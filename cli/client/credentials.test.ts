import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { credentialsFor, encodeAuth, eraseCredentials, hubServer, registryOf, serverKey, storeCredentials } from './credentials.js';

let folder = '';
let pathBefore = '';
const config = (): Record<string, unknown> => JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')) as Record<string, unknown>;
const write = (value: unknown): void => writeFileSync(join(folder, 'config.json'), JSON.stringify(value));

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'gantry-auth-'));
  pathBefore = process.env['PATH'] ?? '';
});

afterEach(() => {
  process.env['PATH'] = pathBefore;
  rmSync(folder, { recursive: true });
});

describe('credentials', () => {
  it('are kept in the form of Docker, readable by their owner alone, beside what else is there', async () => {
    write({ psFormat: 'x', auths: { other: { auth: 'b' } } });
    await storeCredentials(folder, { username: 'me', password: 'a:b', serveraddress: 'host:5000' });
    expect(config()).toEqual({
      psFormat: 'x',
      auths: { other: { auth: 'b' }, 'host:5000': { auth: Buffer.from('me:a:b').toString('base64') } },
    });
    expect(statSync(join(folder, 'config.json')).mode & 0o777).toBe(0o600);
    expect(await credentialsFor(folder, 'host:5000')).toEqual({ username: 'me', password: 'a:b', serveraddress: 'host:5000' });
    expect(await eraseCredentials(folder, 'host:5000')).toBe(true);
    expect(config()).toEqual({ psFormat: 'x', auths: { other: { auth: 'b' } } });
  });

  it('are found under the address that an older client kept them under', async () => {
    write({ auths: { 'https://host:5000/v1/': { auth: Buffer.from('me:pw').toString('base64') } } });
    expect(await credentialsFor(folder, 'host:5000')).toMatchObject({ username: 'me', password: 'pw' });
    expect(await credentialsFor(folder, 'another')).toBeUndefined();
  });

  it('are none when there is no file, and an error when the file is broken', async () => {
    expect(await credentialsFor(folder, 'host')).toBeUndefined();
    writeFileSync(join(folder, 'config.json'), '{');
    await expect(credentialsFor(folder, 'host')).rejects.toThrow('config.json');
  });

  it('come from a helper and go to it, and then not into the file', async () => {
    const log = join(folder, 'log');
    writeFileSync(
      join(folder, 'docker-credential-fake'),
      `#!/bin/sh\nread -r line\necho "$1 $line" >>${log}\n[ "$1" != get ] || case $line in absent) echo "credentials not found in native keychain"; exit 1 ;; token) echo '{"Username":"<token>","Secret":"t"}' ;; *) echo '{"Username":"u","Secret":"s"}' ;; esac\n`,
    );
    chmodSync(join(folder, 'docker-credential-fake'), 0o755);
    process.env['PATH'] = `${folder}:${pathBefore}`;
    write({ credsStore: 'fake' });
    expect(await credentialsFor(folder, 'host')).toEqual({ username: 'u', password: 's', serveraddress: 'host' });
    expect(await credentialsFor(folder, 'token')).toMatchObject({ identitytoken: 't', username: '' });
    expect(await credentialsFor(folder, 'absent')).toBeUndefined();
    expect(await storeCredentials(folder, { username: 'me', password: 'secret', serveraddress: 'host' })).toEqual({ helper: 'fake' });
    expect(JSON.stringify(config())).not.toContain('secret');
    expect(readFileSync(log, 'utf8')).toContain('store {"ServerURL":"host","Username":"me","Secret":"secret"}');
  });

  it('never run a program outside of the family of helpers', async () => {
    write({ credsStore: '../../bin/sh' });
    await expect(credentialsFor(folder, 'host')).rejects.toThrow('invalid name of a credential helper');
  });

  it('belong to the registry that a name begins with', () => {
    expect(registryOf('busybox')).toBe(hubServer);
    expect(registryOf('me/busybox')).toBe(hubServer);
    expect(registryOf('docker.io/me/busybox')).toBe(hubServer);
    expect(registryOf('localhost/x')).toBe('localhost');
    expect(registryOf('host:5000/x')).toBe('host:5000');
    expect(serverKey('https://host:5000/v2/')).toBe('host:5000');
    expect(serverKey('docker.io')).toBe(hubServer);
  });

  it('travel in the alphabet that is safe in a header', () => {
    const text = encodeAuth({ username: '???>>>', password: 'ÿÿÿ' });
    expect(text).toMatch(/^[\w=-]+$/);
    expect(JSON.parse(Buffer.from(text, 'base64url').toString())).toEqual({ username: '???>>>', password: 'ÿÿÿ' });
  });
});
