import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FakeApi } from '../../test/fakes/api.js';
import type { AccessRequest, AuthorizationPlugin } from '../contracts/authorization.js';
import { limits } from './limits.js';

let api: FakeApi;
let folder: string;
let socket: string;
/** What the plugin was asked about, each with the name that it found in the body. */
let asked: { uri: string; name: unknown }[];

/** Refuses what makes a volume of one name, and what reads volumes of that name. */
const gate: AuthorizationPlugin = {
  name: 'gate',
  async authorizeRequest({ body, uri }: AccessRequest) {
    const name = body === undefined ? undefined : (JSON.parse(body.toString()) as { Name?: unknown }).Name;
    asked.push({ uri, name });
    const denied = name === 'forbidden' || /\/volumes\/forbidden(\?|$)/.test(uri);
    return denied ? { allow: false, reason: 'not that' } : { allow: true };
  },
  authorizeResponse: async () => ({ allow: true }),
};

beforeEach(async () => {
  asked = [];
  folder = mkdtempSync('/tmp/gantry-gate-');
  socket = join(folder, 'api.sock');
  api = await FakeApi.open([gate]);
  await api.server.listen({ kind: 'unix', path: socket });
});
afterEach(async () => {
  await api.close();
  rmSync(folder, { recursive: true, force: true });
});

/** Sends bytes as they are and reads until the server closes. */
const raw = (text: string): Promise<string> =>
  new Promise((done) => {
    let answer = '';
    const client = connect(socket, () => client.end(text));
    client.on('data', (chunk) => (answer += chunk.toString('latin1')));
    client.on('error', () => done(answer));
    client.on('close', () => done(answer));
  });

const post = (headers: string, body: string): Promise<string> =>
  raw(`POST /v1.44/volumes/create HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${headers}\r\n\r\n${body}`);

/** Nothing was made that the plugin did not see. */
async function nothingForbidden(): Promise<void> {
  const { volumes } = await api.services.volumes.list(new Map());
  expect(volumes.map(({ name }) => name)).not.toContain('forbidden');
}

const json = 'Content-Type: application/json';
const body = '{"Name":"forbidden"}';

describe('a body that is sent in an odd way is shown to the plugin, or does not run', () => {
  it.each([
    ['with its length', `${json}\r\nContent-Length: ${body.length}`, body],
    ['in chunks', `${json}\r\nTransfer-Encoding: chunked`, `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`],
    ['byte by byte', `${json}\r\nTransfer-Encoding: chunked`, `${[...body].map((letter) => `1\r\n${letter}\r\n`).join('')}0\r\n\r\n`],
    ['with a length of nothing', `${json}\r\nContent-Length: 0`, body],
    ['with a length that is too short', `${json}\r\nContent-Length: 5`, body],
    ['with a length that is too long', `${json}\r\nContent-Length: 500`, body],
    ['with two lengths', `${json}\r\nContent-Length: 5\r\nContent-Length: ${body.length}`, body],
    [
      'in chunks and with a length',
      `${json}\r\nContent-Length: 4\r\nTransfer-Encoding: chunked`,
      `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`,
    ],
    ['after asking whether it may', `${json}\r\nExpect: 100-continue\r\nContent-Length: ${body.length}`, body],
    ['said to be packed', `${json}\r\nContent-Encoding: gzip\r\nContent-Length: ${body.length}`, body],
    ['without a type', `Content-Length: ${body.length}`, body],
    ['as plain text', `Content-Type: text/plain\r\nContent-Length: ${body.length}`, body],
    ['as a type that only begins alike', `Content-Type: application/jsonx\r\nContent-Length: ${body.length}`, body],
    ['with a space before its type', `Content-Type:   application/json\r\nContent-Length: ${body.length}`, body],
    ['with a tab after its type', `Content-Type: application/json\t\r\nContent-Length: ${body.length}`, body],
    ['with its type in capitals', `Content-Type: APPLICATION/JSON;charset=x\r\nContent-Length: ${body.length}`, body],
  ])('%s', async (_, headers, bytes) => {
    const answer = await post(headers, bytes);
    expect(answer).not.toMatch(/^HTTP\/1\.1 201/);
    await nothingForbidden();
  });
});

describe('a body that two readers could read in two ways', () => {
  it.each([
    '{"Name":"fine","Name":"forbidden"}',
    '{"Name":"forbidden","Name":"fine"}',
    '{"name":"forbidden"}',
    '{"NAME":"forbidden"}',
    '{"Name":"fine","name":"forbidden"}',
    '{"name":"forbidden","Name":"fine"}',
    '{"\\u004eame":"forbidden"}',
    '{"N\\u0061me":"forbidden"}',
    '{"Name":"\\u0066orbidden"}',
    '\ufeff{"Name":"forbidden"}',
    ' \n\t{"Name":"forbidden"} ',
    '{"Name":"fine"}{"Name":"forbidden"}',
    '{"Name":"fine"} trailing',
    '{"Name":"forbidden",}',
    "{'Name':'forbidden'}",
    '{"Name":"forbidden"/**/}',
    '{"__proto__":{"Name":"forbidden"}}',
    '{"constructor":{"prototype":{"Name":"forbidden"}}}',
    '[{"Name":"forbidden"}]',
    '"forbidden"',
    '{"Name":["forbidden"]}',
    '{"Name":"forbidden"',
    '\u0000{"Name":"forbidden"}',
    `${'{"a":'.repeat(200)}1${'}'.repeat(200)}`,
  ])('never runs with a name that the plugin did not see: %j', async (text) => {
    const answer = await api.post('/volumes/create', text);
    if (answer.status === 201) {
      const made = (answer.json as { Name: string }).Name;
      expect(asked.at(-1)?.name ?? '').not.toBe('forbidden');
      expect(made).not.toBe('forbidden');
    } else expect([400, 403]).toContain(answer.status);
    await nothingForbidden();
  });
});

describe('a body over the limit', () => {
  const sized = (size: number): string => {
    const frame = '{"Name":"fine","Labels":{"a":""}}';
    return frame.replace('""', `"${'x'.repeat(size - frame.length)}"`);
  };

  it.each([
    [-1, 201],
    [0, 201],
    [1, 400],
  ])('is refused and not cut: %i bytes beyond', async (beyond, status) => {
    const answer = await api.post('/volumes/create', sized(limits.jsonBody + beyond));
    expect(answer.status).toBe(status);
    expect(asked.length).toBe(status === 201 ? 1 : 0);
  });
});

describe('a path in another spelling', () => {
  it.each([
    '/volumes/forbidden',
    '/v1.44/volumes/forbidden',
    '/v1.24/volumes/forbidden?x=1',
    '/volumes/%66orbidden',
    '/volumes/forbidde%6e',
    '/volumes/forbidden?force=1&force=0',
    '/v1.44/volumes/%66%6f%72%62%69%64%64%65%6e',
  ])('is asked about in one: %s', async (url) => {
    expect(await api.ask('DELETE', url)).toMatchObject({ status: 403 });
    expect(asked.at(-1)?.uri).toMatch(/^(\/v1\.\d+)?\/volumes\/forbidden(\?|$)/);
  });

  it.each([
    '//volumes/forbidden',
    '/./volumes/forbidden',
    '/x/../volumes/forbidden',
    '/VOLUMES/forbidden',
    '/v9.9/volumes/forbidden',
    '/volumes%2fforbidden',
  ])('that no route has does not run: %s', async (url) => {
    const { status } = await api.ask('DELETE', url);
    expect([400, 403, 404]).toContain(status);
  });

  it('runs what was decided about, for thousands of spellings', async () => {
    const pieces = ['volumes', 'forbidden', 'fine', '/', '//', '%2f', '..', '.', '%66orbidden', '?', '#', '%00', 'v1.44', '%', ';', '\\'];
    let seed = 7;
    const random = (below: number): number => (seed = (seed * 1103515245 + 12345) % 2147483648) % below;
    for (let round = 0; round < 3000; round++) {
      const url = `/${Array.from({ length: 1 + random(6) }, () => pieces[random(pieces.length)]).join(random(2) === 0 ? '/' : '')}`;
      asked = [];
      const { status } = await api.ask('DELETE', url);
      // Whatever reached a volume of that name was asked about by that name, and so refused.
      if (status === 204) expect(asked.at(-1)?.uri, url).not.toMatch(/forbidden(\?|$)/);
      expect(status, url).not.toBe(500);
    }
  });
});
