import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FakePlugin } from '../fakes/plugin.js';
import { Engine, whyNoEngine } from './engine.js';

const why = whyNoEngine();
if (why) console.log(`skipped: SIGHUP: ${why}`);

describe.skipIf(why)('a daemon that gets SIGHUP', () => {
  let engine: Engine;
  const folder = mkdtempSync('/tmp/gantry-reload-');
  const file = join(folder, 'daemon.json');
  const configure = (config: object): void => writeFileSync(file, JSON.stringify(config));
  const hup = async (said: string): Promise<void> => {
    const before = engine.log.length;
    process.kill(engine.pid, 'SIGHUP');
    await expect.poll(() => engine.log.slice(before), { timeout: 120_000 }).toContain(said);
  };
  const info = async (): Promise<{ Labels: string[]; RegistryConfig: { Mirrors: string[] }; Debug: boolean }> =>
    (await engine.api<Awaited<ReturnType<typeof info>>>('GET', '/info')).body;

  beforeAll(async () => {
    configure({ labels: ['at=start'] });
    engine = await Engine.start(['--bridge', 'none', '--config-file', file]);
  });
  afterAll(async () => {
    await engine.stop();
    rmSync(folder, { recursive: true });
  });

  it('takes over what may change, and says so to whoever follows events', async () => {
    expect((await info()).Labels).toEqual(['at=start']);
    const since = `${Date.now() / 1000 - 1}`;
    configure({ labels: ['at=reload'], 'registry-mirrors': ['https://mirror.example'], debug: true, mtu: 1400 });
    await hup('the configuration was read anew');
    expect(await info()).toMatchObject({ Labels: ['at=reload'], RegistryConfig: { Mirrors: ['https://mirror.example'] }, Debug: true });
    expect(engine.log).toContain('settings=["mtu"]');
    expect(engine.log).toContain('debug request');
    const { stdout } = engine.docker(['events', '--since', since, '--until', `${Date.now() / 1000 + 1}`, '--filter', 'type=daemon']);
    expect(stdout).toMatch(/daemon reload .*labels=\["at=reload"\]/);
  });

  it('keeps what it has when the file is wrong', async () => {
    writeFileSync(file, '{"labels": ["at=');
    await hup('the configuration stays as it was');
    configure({ labels: ['at=nonsense'], 'default-runtime': 'nonsense' });
    await hup("specified default runtime 'nonsense' does not exist");
    expect((await info()).Labels).toEqual(['at=reload']);
  });

  it('asks other access plugins from then on, and none that is not there', async () => {
    const gate = await FakePlugin.start(join(engine.pluginFolder, 'gate.sock'), ['authz'], {
      'AuthZPlugin.AuthZReq': ({ RequestMethod }) => ({ Allow: RequestMethod === 'GET', Msg: 'look, do not touch' }),
      'AuthZPlugin.AuthZRes': () => ({ Allow: true }),
    });
    try {
      configure({ 'authorization-plugins': ['gate', 'nobody'] });
      await hup('the configuration stays as it was');
      expect(engine.log).toMatch(/authorization plugin .*nobody.* not found/);
      expect(await engine.api('POST', '/volumes/create', { Name: 'before' })).toMatchObject({ status: 201 });
      configure({ 'authorization-plugins': ['gate'] });
      await hup('the configuration was read anew');
      expect(await engine.api('POST', '/volumes/create', { Name: 'after' })).toMatchObject({
        status: 403,
        body: { message: 'authorization denied by plugin gate: look, do not touch' },
      });
      const { body } = await engine.api<{ Plugins: { Authorization: string[] } }>('GET', '/info');
      expect(body.Plugins.Authorization).toEqual(['gate']);
      expect(gate.called('AuthZPlugin.AuthZRes')).toBe(1);
    } finally {
      configure({});
      await hup('the configuration was read anew');
      await gate.down({ removeSocket: true });
    }
    expect(await engine.api('DELETE', '/volumes/before')).toMatchObject({ status: 204 });
  }, 180_000);
});
