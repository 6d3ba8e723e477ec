import { describe, expect, it } from 'vitest';
import { isKind } from '@gantry/core/contracts/errors.js';
import type { VolumeDriver } from '@gantry/core/contracts/volume.js';

let names = 0;
const fresh = (): string => `volume-${process.pid}-${++names}`;

/** What every volume driver promises. `open` gives one on the same state each time, as another start of the daemon would. */
export function volumeConformance(name: string, open: () => Promise<VolumeDriver>): void {
  describe(`volume driver ${name} keeps the contract`, () => {
    it('makes a volume once, however often it is asked', async () => {
      const driver = await open();
      const volume = fresh();
      await driver.create(volume, {});
      await driver.create(volume, {});
      expect((await driver.list()).filter((info) => info.name === volume)).toHaveLength(1);
      expect(await driver.get(volume)).toMatchObject({ name: volume });
      await driver.remove(volume);
    });

    it('says that there is none, and forgives its removal', async () => {
      const driver = await open();
      await expect(driver.get(fresh())).rejects.toSatisfy((error) => isKind(error, 'not-found'));
      await driver.remove(fresh());
    });

    it('shows the same content to everybody, and keeps it from one mount to the next', async () => {
      const driver = await open();
      const volume = fresh();
      await driver.create(volume, {});
      const one = await driver.mount(volume, 'a'.repeat(64));
      expect(one.startsWith('/')).toBe(true);
      expect(await driver.mount(volume, 'b'.repeat(64))).toBe(one);
      await driver.unmount(volume, 'a'.repeat(64));
      await driver.unmount(volume, 'b'.repeat(64));
      expect(await driver.mount(volume, 'a'.repeat(64))).toBe(one);
      await driver.unmount(volume, 'a'.repeat(64));
      await driver.remove(volume);
    });

    it('forgives an unmount of what is not mounted', async () => {
      const driver = await open();
      const volume = fresh();
      await driver.create(volume, {});
      await driver.unmount(volume, 'c'.repeat(64));
      await driver.remove(volume);
    });

    it('keeps its volumes from one start to the next', async () => {
      const volume = fresh();
      const before = await open();
      await before.create(volume, {});
      await before.close();
      const driver = await open();
      expect(await driver.get(volume)).toMatchObject({ name: volume });
      await driver.remove(volume);
      await expect(driver.get(volume)).rejects.toSatisfy((error) => isKind(error, 'not-found'));
    });

    it('refuses an option that it does not know', async () => {
      const driver = await open();
      await expect(driver.create(fresh(), { mystery: '1' })).rejects.toMatchObject({ kind: 'invalid-parameter' });
    });

    it('works for many at once', async () => {
      const driver = await open();
      const volumes = Array.from({ length: 20 }, fresh);
      await Promise.all(volumes.map((volume) => driver.create(volume, {})));
      const listed = new Set((await driver.list()).map((info) => info.name));
      expect(volumes.every((volume) => listed.has(volume))).toBe(true);
      await Promise.all(volumes.map((volume) => driver.remove(volume)));
    });
  });
}
