import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import type { DriverEnv } from '@gantry/core/contracts/manifest.js';
import { jsonFileLog } from '@gantry/drivers/log/json-file/manifest.js';
import { overlay2 } from '@gantry/drivers/storage/overlay2/manifest.js';
import { vfs } from '@gantry/drivers/storage/vfs/manifest.js';
import { local } from '@gantry/drivers/volume/local/manifest.js';
import { host } from '@gantry/native/index.js';
import { checkPlugin, plain } from '@gantry/plugins/sdk/check/index.js';
import { serve } from '@gantry/plugins/sdk/server/serve.js';
import { servedParts } from '@gantry/plugins/serve/in-tree.js';
import { JsonLog } from '@gantry/plugins/serve/json-log.js';
import { storageConformance } from '../conformance/storage.js';
import { volumeConformance } from '../conformance/volume.js';
import { OverTheWire } from '../fakes/over-the-wire.js';
import { silentLog } from '../fakes/settings.js';

const isRoot = process.getuid?.() === 0;
if (!isRoot) console.log('skipped: drivers on a real kernel need root');

const envAt = (root: string): DriverEnv => {
  const runRoot = join(dirname(root), 'run');
  mkdirSync(root, { recursive: true });
  mkdirSync(runRoot, { recursive: true });
  return { root, runRoot, instance: 'wire', options: {}, host, log: silentLog };
};

describe.runIf(isRoot)('in-tree drivers keep their contracts over a socket', () => {
  for (const manifest of [vfs, overlay2]) {
    const wire = new OverTheWire<'storage'>(manifest);
    afterAll(() => wire.remove());
    storageConformance(`${manifest.name} (remote)`, {
      // What the protocol does not carry (quotas, parallel filling) is not declared by the twin.
      capabilities: [],
      folder: '/tmp',
      host,
      open: async (root) => (await wire.open(envAt(root))).driver,
    });
  }

  const folder = mkdtempSync('/tmp/gantry-wire-volumes-');
  const wire = new OverTheWire<'volume'>(local);
  afterAll(async () => {
    await wire.remove();
    rmSync(folder, { recursive: true, force: true });
  });
  volumeConformance('local (remote)', async () => (await wire.open(envAt(join(folder, 'driver')))).driver);
  volumeConformance('local', () => local.open(envAt(join(folder, 'own'))));

  describe('json-file (remote)', () => {
    const root = mkdtempSync('/tmp/gantry-wire-logs-');
    const socket = join(root, 'logs.sock');
    afterAll(() => rmSync(root, { recursive: true, force: true }));

    it('keeps the promises of a log plugin, also started anew in between', async () => {
      const open = async (): Promise<() => Promise<void>> => {
        const parts = await servedParts(jsonFileLog, envAt(join(root, 'driver')));
        const plugin = await serve({ ...parts, socket });
        return async () => {
          await plugin.close();
          await parts.close();
        };
      };
      let close = await open();
      try {
        const results = await checkPlugin({
          socket,
          folder: join(root, 'scratch'),
          restart: async () => {
            await close();
            close = await open();
          },
        });
        expect(plain(results)).toMatch(/\b[5-9] kept, 0 broken, 0 skipped/);
      } finally {
        await close();
      }
    }, 120_000);

    it('rotates and packs its files as the shim does, and reads them back in order', async () => {
      const directory = join(root, 'rotated');
      mkdirSync(directory);
      const driver = await jsonFileLog.open(envAt(directory));
      const container = { id: 'c'.repeat(64), name: 'c', imageId: '', imageName: '', labels: {}, env: [], directory };
      const options = { 'max-size': '1k', 'max-file': '3', compress: 'true' };
      const target = await driver.target(container, options);
      if (target.kind !== 'json-file') throw new Error('another target');
      const log = await JsonLog.open(target);
      for (let line = 1; line <= 40; line++)
        await log.write({ source: 'stdout', time: BigInt(line), line: Buffer.from(`line ${line}`), partial: false });
      await log.close();
      expect(readdirSync(directory).toSorted()).toEqual([0, 1, 2].map((n) => `${container.id}-json.log${n === 0 ? '' : `.${n}.gz`}`));
      const lines: string[] = [];
      for await (const { line } of driver.read(container, options, { stdout: true, stderr: true, follow: false }))
        lines.push(line.toString());
      expect(lines.length).toBeGreaterThan(20);
      expect(lines).toEqual(lines.map((_, index) => `line ${40 - lines.length + index + 1}\n`));
    });
  });
});
