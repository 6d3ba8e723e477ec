import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { NetworkEngine } from './engine.js';
import { inOwnNamespace } from './namespace.js';
import { ask, eventually } from './probe.js';

/** Processes whose name server serves the engine. */
function nameServers(engine: NetworkEngine): number[] {
  const socket = join(engine.settings.execRoot, 'dns', 'control.sock');
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        const args = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
        return args[0] === 'gantry-dns' && args[1] === socket;
      } catch {
        return false;
      }
    })
    .map(Number);
}

inOwnNamespace(import.meta.url, () => {
  const engine = new NetworkEngine();
  let web: { id: string; path: string; address: string };
  let client: { id: string; path: string; address: string };

  beforeAll(async () => {
    await engine.start();
    await engine.network('one', { ipam: { subnet: '10.213.20.0/24' } });
    web = await engine.run('one', { containerName: 'web', aliases: ['www'] });
    client = await engine.run('one', { containerName: 'client', links: ['web:store'] });
  });

  afterAll(() => engine.destroy());

  describe('names', () => {
    it('are answered by one process without rights', () => {
      const [pid, ...more] = nameServers(engine);
      expect(more).toEqual([]);
      const status = readFileSync(`/proc/${pid}/status`, 'utf8');
      expect(status).toMatch(/^Uid:\s+65534\s+65534\s+65534\s+65534$/m);
      expect(status).toMatch(/^CapEff:\s+0+$/m);
      expect(status).toMatch(/^CapPrm:\s+0+$/m);
      expect(status).toMatch(/^NoNewPrivs:\s+1$/m);
    });

    it('are answered while the daemon is away, by the process that the next daemon finds', async () => {
      const before = nameServers(engine);
      await engine.die();
      expect(await ask(client.path, 'www')).toBe(web.address);
      expect(await ask(client.path, 'store')).toBe(web.address);
      expect(await ask(client.path, 'ghost')).toBe('ENOTFOUND');
      await engine.start();
      expect(nameServers(engine)).toEqual(before);
      expect(await ask(client.path, 'www')).toBe(web.address);
      const late = await engine.run('one', { containerName: 'late' });
      expect(await ask(client.path, 'late')).toBe(late.address);
      expect(await ask(late.path, 'web')).toBe(web.address);
      await engine.stop(late.id);
      expect(await ask(client.path, 'late')).toBe('ENOTFOUND');
    });

    it('come back in every sandbox when the process is killed', async () => {
      const [killed = 0] = nameServers(engine);
      process.kill(killed, 'SIGKILL');
      await eventually(async () => nameServers(engine).some((pid) => pid !== killed), 'another process');
      await eventually(async () => (await ask(client.path, 'www')) === web.address, 'names are back');
      expect(await ask(web.path, 'client')).toBe(client.address);
    });

    it('come back with the daemon when the process was killed while it was away', async () => {
      await engine.die();
      for (const pid of nameServers(engine)) process.kill(pid, 'SIGKILL');
      await engine.start();
      expect(await ask(client.path, 'www')).toBe(web.address);
    });

    it('that no protocol could carry hurt nobody', async () => {
      const odd = await engine.run('one', { containerName: 'odd', aliases: ['a b', 'x\nnetwork y z', 'ok', 'ü', 'a'.repeat(300)] });
      expect(await ask(client.path, 'ok')).toBe(odd.address);
      expect(await ask(client.path, 'www')).toBe(web.address);
      await engine.stop(odd.id);
    });

    it('need no process when no sandbox is left', async () => {
      await engine.stop(web.id);
      await engine.stop(client.id);
      await engine.die();
      await eventually(async () => nameServers(engine).length === 0, 'the process has ended');
      await engine.start();
    });
  });
});
