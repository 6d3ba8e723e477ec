import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FakeApi } from '../../test/fakes/api.js';
import type { CreateContainer } from '../container/containers.js';
import { decodeFilters } from './filters.js';
import { limits } from './limits.js';
import { platformOfJson, platformOfText } from './platform.js';
import { isTrue } from './query.js';
import { decodeRegistryAuth } from './registry-auth.js';
import { parseStrictJson } from './strict-json.js';
import { humanDuration, logTime } from './times.js';

describe('strict JSON', () => {
  it('reads what JSON.parse reads', () => {
    for (const text of ['{"a":[1,-2.5e3,true,false,null,"x\\n\\u00e9\\"\\\\"],"b":{}}', ' [ ] ', '"\\\\"', '0', '{"a":{"b":[{}]}}']) {
      expect(parseStrictJson(text)).toEqual(JSON.parse(text));
    }
  });

  it('makes objects without prototype', () => {
    expect(Object.getPrototypeOf(parseStrictJson('{}'))).toBeNull();
  });

  it('refuses what two readers could read differently', () => {
    for (const text of [
      '{"a":1,"a":2}',
      '{"__proto__":{}}',
      '{"a":1}x',
      '9007199254740993',
      '1e999',
      '01',
      "{'a':1}",
      '[1,]',
      '{"a"}',
      '"\n"',
      '',
      '{',
      '"',
      '"\\"',
      'nul',
    ]) {
      expect(() => parseStrictJson(text), text).toThrow('invalid JSON');
    }
    expect(() => parseStrictJson('['.repeat(100_000))).toThrow('nested deeper');
  });
});

describe('the body of a request', () => {
  let api: FakeApi;
  beforeEach(async () => {
    api = await FakeApi.open();
  });
  afterEach(() => api.close());

  const created = () => api.services.containers.calls.find(([name]) => name === 'create')?.[1] as CreateContainer;

  it('may spell keys in any case, once', async () => {
    expect((await api.post('/containers/create', { image: 'x', HOSTCONFIG: { memory: 5 } })).status).toBe(201);
    expect([created().config.image, created().hostConfig.memory]).toEqual(['x', 5]);
    expect(await api.post('/containers/create', '{"Image":"a","image":"b"}')).toMatchObject({
      status: 400,
      json: { message: 'invalid JSON: Image is given twice' },
    });
  });

  it('keeps the case of keys that are data', async () => {
    await api.post('/containers/create', { Image: 'x', Labels: { Aa: '1', aA: '2' } });
    expect(created().config.labels).toEqual({ Aa: '1', aA: '2' });
  });

  it('is not converted: a wrong type is 400 with its place', async () => {
    for (const [body, message] of [
      [{ Image: 'x', Tty: 'true' }, 'Tty must be boolean'],
      [{ Image: 'x', HostConfig: { Memory: '5m' } }, 'HostConfig.Memory must be integer'],
      [{ Image: 'x', Env: [1] }, 'Env.0 must be string'],
      [
        { Image: 'x', HostConfig: { PortBindings: { '80/tcp': [{ HostPort: 80 }] } } },
        'HostConfig.PortBindings.80/tcp.0.HostPort must be string',
      ],
      [[], 'the request body must be object'],
    ] as const) {
      expect(await api.post('/containers/create', body)).toMatchObject({ status: 400, json: { message: `invalid JSON: ${message}` } });
    }
  });

  it('may have null for everything', async () => {
    const body = {
      Image: 'x',
      Cmd: null,
      Env: null,
      Labels: null,
      HostConfig: null,
      NetworkingConfig: null,
      ExposedPorts: null,
      Healthcheck: null,
      Tty: null,
    };
    expect((await api.post('/containers/create', body)).status).toBe(201);
    expect(created().config).toMatchObject({ cmd: undefined, env: [], labels: {}, tty: false });
  });

  it('has to be JSON where one is needed, and there', async () => {
    expect(await api.post('/containers/create', '{"Image":"x"}', { 'Content-Type': 'text/plain' })).toMatchObject({ status: 400 });
    expect(await api.post('/containers/create', '', { 'Content-Type': 'application/json' })).toMatchObject({ status: 400 });
    expect(await api.post('/containers/create')).toMatchObject({ status: 400 });
    expect((await api.post('/containers/create', '{"Image":"x"}', { 'Content-Type': 'application/json; charset=utf-8' })).status).toBe(201);
  });

  it('does not matter for start and stop, whatever its type', async () => {
    for (const type of ['text/plain', 'application/json', 'application/x-odd']) {
      expect((await api.post('/containers/x/restart', '', { 'Content-Type': type })).status).toBe(204);
    }
    api.services.container();
    expect((await api.post('/containers/web/start', '{}')).status).toBe(204);
    expect((await api.post('/containers/web/start', '{"Binds":["/:/x"]}')).status).toBe(400);
  });

  it('has a limit', async () => {
    const { status } = await api.post('/containers/create', JSON.stringify({ Image: 'x'.repeat(limits.jsonBody) }));
    expect(status).toBe(400);
    expect(api.services.containers.calls).toEqual([]);
  });
});

describe('queries', () => {
  it('read booleans as Docker does', () => {
    for (const value of ['', '0', 'no', 'False', ' none ', 'FALSE']) expect(isTrue(value), value).toBe(false);
    for (const value of ['1', 'True', 'true', 'yes', 'x']) expect(isTrue(value), value).toBe(true);
  });

  it('take filters in both encodings and refuse unknown keys', () => {
    const known = ['label', 'dangling'];
    expect([...decodeFilters('{"label":{"a=b":true,"c":true}}', known)]).toEqual([['label', ['a=b', 'c']]]);
    expect([...decodeFilters('{"label":["a=b"],"dangling":[true]}', known)]).toEqual([
      ['label', ['a=b']],
      ['dangling', ['true']],
    ]);
    expect(() => decodeFilters('{"colour":["red"]}', known)).toThrow("invalid filter 'colour'");
    expect(() => decodeFilters('{label}', known)).toThrow('invalid JSON');
    expect(decodeFilters('', known).size).toBe(0);
  });

  it('take a platform as text or as JSON', () => {
    expect(platformOfText('linux/arm64/v8')).toEqual({ os: 'linux', architecture: 'arm64', variant: 'v8' });
    expect(platformOfText('aarch64')).toEqual({ os: 'linux', architecture: 'arm64', variant: '' });
    expect(platformOfText('')).toBeUndefined();
    expect(() => platformOfText('linux/a b')).toThrow('invalid platform');
    expect(platformOfJson('{"os":"linux","architecture":"amd64"}')).toEqual({ os: 'linux', architecture: 'amd64', variant: '' });
    expect(() => platformOfJson('{"os":"linux"}')).toThrow('both OS and Architecture');
  });
});

describe('X-Registry-Auth', () => {
  const json = JSON.stringify({ username: 'ü>>>', password: 'p???', serveraddress: 'registry.test' });
  const wanted = { username: 'ü>>>', password: 'p???', identityToken: '', registryToken: '', serverAddress: 'registry.test' };

  it('is read in both alphabets, padded or not', () => {
    const standard = Buffer.from(json).toString('base64');
    expect(standard).toMatch(/[+/]/);
    const urlSafe = standard.replaceAll('+', '-').replaceAll('/', '_');
    for (const text of [standard, urlSafe, standard.replace(/=+$/, ''), urlSafe.replace(/=+$/, '')])
      expect(decodeRegistryAuth(text)).toEqual(wanted);
  });

  it('is no credential when absent, empty, null or {}', () => {
    for (const text of [undefined, '', 'bnVsbA==', 'e30=', 'e30']) expect(decodeRegistryAuth(text)).toBeUndefined();
  });

  it('may hold a token alone, or user and password joined', () => {
    expect(decodeRegistryAuth(Buffer.from('{"identitytoken":"t"}').toString('base64'))).toMatchObject({ identityToken: 't', username: '' });
    const joined = JSON.stringify({ auth: Buffer.from('me:se:cret').toString('base64') });
    expect(decodeRegistryAuth(Buffer.from(joined).toString('base64'))).toMatchObject({ username: 'me', password: 'se:cret' });
  });

  it('is refused when it is neither base64 nor JSON, without quoting it', () => {
    expect(() => decodeRegistryAuth('***')).toThrow('illegal base64');
    const broken = Buffer.from('{"password":"geheim').toString('base64');
    expect(() => decodeRegistryAuth(broken)).toThrow('invalid JSON');
    expect(() => decodeRegistryAuth(broken)).not.toThrow('geheim');
  });
});

describe('times', () => {
  it('have nine digits in logs', () => {
    expect(logTime(1_767_225_600_000_000_005n)).toBe('2026-01-01T00:00:00.000000005Z');
  });

  it('are rough words in ps', () => {
    const words = [
      [400, 'Less than a second'],
      [1000, '1 second'],
      [59_000, '59 seconds'],
      [60_000, 'About a minute'],
      [150_000, '2 minutes'],
      [3_600_000, 'About an hour'],
      [2 * 3_600_000, '2 hours'],
      [3 * 86_400_000, '3 days'],
      [20 * 86_400_000, '2 weeks'],
      [90 * 86_400_000, '3 months'],
      [800 * 86_400_000, '2 years'],
    ] as const;
    for (const [millis, text] of words) expect(humanDuration(millis)).toBe(text);
  });
});
