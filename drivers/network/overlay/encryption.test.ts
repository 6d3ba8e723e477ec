import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { newId } from '@gantry/core/contracts/ids.js';
import type { DriverEnv } from '@gantry/core/contracts/manifest.js';
import { host } from '@gantry/native/index.js';
import { hostAt } from '@gantry/test/fakes/host-at.js';
import { MemoryCluster } from '@gantry/test/fakes/cluster.js';
import { silentLog } from '@gantry/test/fakes/settings.js';
import { inOwnNamespace } from '@gantry/test/network/namespace.js';
import { eventually, inside, reach, serve } from '@gantry/test/network/probe.js';
import { Encryption, usualTimes } from './encryption.js';
import { OverlayDriver } from './driver.js';
import { parseSettings } from './options.js';

interface Member {
  readonly path: string;
  readonly address: string;
  readonly driver: OverlayDriver;
}

/** Several keys are used and retired in one test; a machine that is slower has as much more time for each. */
const UNIT = 1000 * Math.min(5, Number(process.env['GANTRY_SLOW'] ?? 1));
const QUICK = { rotationMs: 8 * UNIT, switchMs: UNIT, retireMs: 2 * UNIT, tickMs: UNIT / 2 };

/** Why the kernel cannot encrypt, asked in a namespace that then ends. */
async function whyNoEncryption(): Promise<string | undefined> {
  const folder = mkdtempSync(join(tmpdir(), 'gantry-network-'));
  const path = join(folder, 'trial');
  await host.net.createNamespace(path);
  const env = { root: folder, runRoot: folder, instance: 'trial', options: {}, host: hostAt(path), log: silentLog };
  const encryption = new Encryption(env, new MemoryCluster().member('trial', '192.0.2.1'), 4788, usualTimes(1000));
  try {
    return await encryption.check().then(
      () => undefined,
      (error: Error) => error.message,
    );
  } finally {
    await host.net.removeNamespace(path);
    rmSync(folder, { recursive: true });
  }
}

const cannot = process.getuid?.() === 0 ? await whyNoEncryption() : 'needs root';
if (cannot) console.log(`skipped the tests of encrypted networks: ${cannot}`);

inOwnNamespace(import.meta.url, () => {
  const root = mkdtempSync(join(tmpdir(), 'gantry-network-'));
  const wire = join(root, 'wire');
  const cluster = new MemoryCluster();
  const stops: (() => void)[] = [];
  const captures: ChildProcess[] = [];

  const envOf = (name: string, path: string): DriverEnv => {
    const runRoot = join(root, `${name}.run`);
    mkdirSync(runRoot, { recursive: true });
    return { root: runRoot, runRoot, instance: name, options: {}, host: hostAt(path), log: silentLog };
  };
  const join_ = async (name: string, address: string): Promise<Member> => {
    const path = join(root, name);
    await host.net.createNamespace(path);
    await host.net.configure(wire, [{ op: 'add-veth', name, master: 'switch', up: true, peer: { name: 'eth0', namespace: path } }]);
    await host.net.configure(path, [
      { op: 'set-link', name: 'eth0', up: true },
      { op: 'add-address', link: 'eth0', address: `${address}/24` },
    ]);
    const driver = new OverlayDriver(envOf(name, path), cluster.member(name, address), parseSettings({}), QUICK);
    driver.start();
    await driver.settle();
    return { path, address, driver };
  };

  const enter = async ({ driver }: Member, network: string, endpoint: string, address: string): Promise<string> => {
    const sandbox = join(root, endpoint.slice(0, 12));
    await host.net.createNamespace(sandbox);
    await driver.createEndpoint(network, endpoint, { address });
    const { link } = await driver.join(network, endpoint, sandbox);
    await host.net.configure(sandbox, [
      { op: 'set-link', name: link?.srcName ?? '', rename: 'eth0' },
      { op: 'set-link', name: 'eth0', up: true },
      { op: 'add-address', link: 'eth0', address },
    ]);
    return sandbox;
  };

  /** Everything that passes the switch, until it is stopped; resolves to the bytes. */
  const capture = async (): Promise<() => Promise<Buffer>> => {
    const file = join(root, `capture-${captures.length}`);
    const script = `import socket,sys
s=socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
f=open(sys.argv[1],'wb',buffering=0)
print('ready', flush=True)
while True: f.write(s.recv(65535))`;
    const child = spawn('nsenter', [`--net=${wire}`, '--', 'python3', '-c', script, file], { stdio: ['ignore', 'pipe', 'inherit'] });
    captures.push(child);
    await once(child.stdout, 'data');
    return async () => {
      child.kill();
      await once(child, 'exit');
      return readFileSync(file);
    };
  };

  describe('encrypted networks', () => {
    let one: Member;
    let two: Member;

    beforeAll(async () => {
      await host.net.createNamespace(wire);
      await host.net.configure(wire, [
        { op: 'add-bridge', name: 'switch' },
        { op: 'set-link', name: 'switch', up: true },
      ]);
      one = await join_('one', '10.98.0.1');
      two = await join_('two', '10.98.0.2');
    });

    afterAll(async () => {
      for (const stop of stops) stop();
      for (const child of captures) child.kill();
      for (const { driver } of [one, two]) await driver.close();
      for (const path of [one.path, two.path, wire]) await host.net.removeNamespace(path);
      rmSync(root, { recursive: true, force: true });
    });

    it.skipIf(!cannot)('are refused with the reason where the kernel cannot', async () => {
      const config = { options: { encrypted: '' }, internal: false, ipv4: [], ipv6: [] };
      await expect(one.driver.allocateNetwork(newId(), config)).rejects.toMatchObject({
        kind: 'unavailable',
        message: expect.stringContaining('encrypted overlay networks need IPsec ESP with AES-GCM in the kernel'),
      });
    });

    /** Two containers that talk, and what was on the wire meanwhile. */
    const talk = async (encrypted: boolean): Promise<{ bytes: Buffer; answer: string; end: () => Promise<void>; sandboxes: string[] }> => {
      const network = newId();
      const wish = { internal: false, ipv4: [], ipv6: [], options: encrypted ? { encrypted: '' } : {} };
      const options = await one.driver.allocateNetwork(network, wish);
      for (const { driver } of [one, two]) await driver.createNetwork(network, { ...wish, options });
      const endpoints = [newId(), newId()] as const;
      const first = await enter(one, network, endpoints[0], '10.66.0.2/24');
      const second = await enter(two, network, endpoints[1], '10.66.0.3/24');
      stops.push(await serve(first, '0.0.0.0', 80, 'the-secret-word'));
      await eventually(async () => (await reach(second, '10.66.0.2', 80, 1)) !== 'nothing', 'they find each other');
      const stop = await capture();
      const answer = await reach(second, '10.66.0.2', 80);
      const bytes = await stop();
      return {
        bytes,
        answer,
        sandboxes: [first, second],
        end: async () => {
          for (const [index, { driver }] of [one, two].entries()) {
            await driver.leave(network, endpoints[index] as string);
            await driver.deleteEndpoint(network, endpoints[index] as string);
            await driver.deleteNetwork(network);
          }
          await one.driver.freeNetwork(network);
          for (const path of [first, second]) await host.net.removeNamespace(path);
        },
      };
    };

    it('are needed: what a plain one carries is on the wire', async () => {
      const { bytes, answer, end } = await talk(false);
      expect(answer).toBe('the-secret-word 10.66.0.3');
      expect(bytes.includes('the-secret-word')).toBe(true);
      await end();
    });

    it.skipIf(cannot)(
      'carry nothing that can be read, over changes of keys, and take nothing that is not encrypted',
      { timeout: 900_000 },
      async () => {
        const { bytes, answer, sandboxes, end } = await talk(true);
        const [first = '', second = ''] = sandboxes;
        expect(answer).toBe('the-secret-word 10.66.0.3');
        expect(bytes.length).toBeGreaterThan(500);
        expect(bytes.includes('the-secret-word')).toBe(false);
        expect(await inside(one.path, 'ip', 'xfrm', 'state')).toMatch(/rfc4106\(gcm\(aes\)\)[^]*replay_window 512/);

        const spis = new Set<string>();
        const until = Date.now() + 20 * QUICK.rotationMs;
        while (spis.size < 4 && Date.now() < until) {
          expect(await reach(second, '10.66.0.2', 80)).toBe('the-secret-word 10.66.0.3');
          for (const [spi] of (await inside(one.path, 'ip', 'xfrm', 'policy')).matchAll(/spi 0x[0-9a-f]+/g)) spis.add(spi);
          await new Promise((resolve) => setTimeout(resolve, 200));
        }
        expect(spis.size).toBeGreaterThan(2);

        // Whoever is on the wire and speaks VXLAN: a frame for the container, in plain text.
        const heard = inside(
          first,
          'timeout',
          '3',
          'python3',
          '-c',
          `import socket; s=socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
while True:
  if b'injected' in s.recv(65535): print('heard')`,
        ).catch((error: { stdout?: string }) => error.stdout ?? '');
        const frame = `bytes.fromhex('02420a420002' '02420a420003' '0800') + b'injected'`;
        const forge = `import socket; s=socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for vni in range(4096, 4106):
  s.sendto(bytes([8,0,0,0]) + vni.to_bytes(3,'big') + bytes(1) + ${frame}, ('10.98.0.1', 4788))`;
        await host.net.configure(wire, [{ op: 'add-address', link: 'switch', address: '10.98.0.99/24' }]);
        for (let i = 0; i < 5; i++) await inside(wire, 'python3', '-c', forge);
        expect(await heard).toBe('');

        await end();
        for (const { path } of [one, two]) {
          expect(await inside(path, 'ip', 'xfrm', 'state')).toBe('');
          expect(await inside(path, 'ip', 'xfrm', 'policy')).toBe('');
        }
      },
    );
  });
});
