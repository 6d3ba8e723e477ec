import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { AccessRequest } from '@gantry/core/contracts/authorization.js';
import { FakePlugin, faults } from '../../test/fakes/plugin.js';
import { silentLog } from '../../test/fakes/settings.js';
import { Plugin } from '../host/plugin.js';
import { RemoteAuthorization } from './authorization.js';

const request: AccessRequest = { user: '', authenticationMethod: '', method: 'GET', uri: '/v1.44/info', headers: { 'x-one': '1' } };

describe('an access plugin', () => {
  let folder: string;
  let fake: FakePlugin;
  let access: RemoteAuthorization;

  beforeEach(async () => {
    folder = mkdtempSync('/tmp/gantry-access-');
    fake = await FakePlugin.start(join(folder, 'gate.sock'), ['authz'], { 'AuthZPlugin.AuthZReq': () => ({ Allow: true }) });
    const place = { name: 'gate', address: `unix://${fake.socket}`, source: fake.socket };
    const plugin = new Plugin(place, { log: silentLog, holders: () => [], changed: () => undefined });
    access = new RemoteAuthorization('gate', { get: () => plugin });
  });
  afterEach(async () => {
    await fake.down();
    rmSync(folder, { recursive: true, force: true });
  });

  it('lets pass what it clearly allows, and what it says beside does not matter', async () => {
    expect(await access.authorizeRequest(request)).toEqual({ allow: true });
    fake.answers['AuthZPlugin.AuthZReq'] = () => ({ Allow: true, Err: 'a remark' });
    expect(await access.authorizeRequest(request)).toEqual({ allow: true });
  });

  it('is asked in the words that existing plugins know', async () => {
    await access.authorizeRequest({ ...request, body: Buffer.from('{}'), user: 'joe', authenticationMethod: 'TLS' });
    expect(JSON.parse(fake.calls.at(-1)?.body ?? '')).toEqual({
      User: 'joe',
      UserAuthNMethod: 'TLS',
      RequestMethod: 'GET',
      RequestUri: '/v1.44/info',
      RequestBody: 'e30=',
      RequestHeaders: { 'X-One': '1' },
    });
  });

  it('refuses with its own reason', async () => {
    fake.answers['AuthZPlugin.AuthZReq'] = () => ({ Allow: false, Msg: 'not you' });
    expect(await access.authorizeRequest(request)).toEqual({ allow: false, reason: 'not you' });
  });

  it.each([{}, { Allow: 'true' }, { Allow: 1 }, { Allow: null }, { Allow: [true] }, { Msg: 'fine' }, { Allow: false, Err: 'broken' }])(
    'does not let pass by an answer that is no permission: %j',
    async (answer) => {
      fake.answers['AuthZPlugin.AuthZReq'] = () => answer;
      const decided = await access.authorizeRequest(request).catch(() => ({ allow: false }));
      expect(decided.allow).toBe(false);
    },
  );

  it.each(Object.entries(faults).filter(([name]) => name !== 'hangs' && name !== 'drips'))(
    'that %s lets nothing pass',
    async (_, answer) => {
      fake.answers['AuthZPlugin.AuthZReq'] = answer;
      await expect(access.authorizeRequest(request)).rejects.toThrow();
    },
  );

  it('that hangs or drips lets nothing pass, and holds nobody for ever', async () => {
    for (const answer of [faults.hangs, faults.drips]) {
      fake.answers['AuthZPlugin.AuthZReq'] = answer;
      await expect(access.authorizeRequest(request)).rejects.toThrow(/AuthZPlugin.AuthZReq: (no answer within 10 s|it does not answer)/);
    }
  }, 120_000);

  it('that is gone lets nothing pass, and one that nobody knows neither', async () => {
    await fake.down();
    await expect(access.authorizeRequest(request)).rejects.toThrow();
    await fake.up();
    await expect(new RemoteAuthorization('nobody', { get: () => undefined }).authorizeRequest(request)).rejects.toThrow(
      'plugin "nobody" not found',
    );
  });
});
