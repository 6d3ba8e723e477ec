import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { snapshotId } from '@gantry/core/contracts/ids.js';
import type { DriverEnv } from '@gantry/core/contracts/manifest.js';
import type { StorageDriver } from '@gantry/core/contracts/storage.js';
import { host } from '@gantry/native/index.js';
import { overlay2 } from './manifest.js';
import { overlayFacts } from './probe.js';

const isRoot = process.getuid?.() === 0;
if (!isRoot) console.log('skipped: volatile overlays need root');

const image = snapshotId('a'.repeat(64));
const container = snapshotId('b'.repeat(64));

describe.skipIf(!isRoot)('a snapshot of overlay2 that is thrown away', () => {
  let root: string;
  let env: DriverEnv;
  let driver: StorageDriver;

  beforeEach(async (context) => {
    root = mkdtempSync('/var/tmp/gantry-storage-volatile-');
    for (const name of ['driver', 'run', 'mnt']) mkdirSync(join(root, name));
    const log = { debug() {}, info() {}, warn() {}, error() {} };
    env = { root: join(root, 'driver'), runRoot: join(root, 'run'), instance: 'test', options: {}, host, log };
    if (!(await overlayFacts(env)).volatile) context.skip('the kernel has no volatile overlays (Linux 5.10)');
    driver = await overlay2.open(env);
    await driver.create(image, { writable: false });
    await driver.create(container, { parent: image, writable: true, volatile: true });
  });
  afterEach(async () => {
    for (const { target } of host.files.mountsBelow(root)) await host.files.unmount(target, true);
    rmSync(root, { recursive: true, force: true });
  });

  const mounted = async (look: (path: string) => void): Promise<void> => {
    const [mount] = await driver.acquire(container);
    if (!mount) throw new Error('nothing to mount');
    expect(mount.options).toContain('volatile');
    await host.files.mount(mount, join(root, 'mnt'));
    look(join(root, 'mnt'));
    await host.files.unmount(join(root, 'mnt'));
    await driver.release(container);
  };

  it('is mounted again as often as it is asked for, by a later daemon too', async () => {
    await mounted((path) => writeFileSync(join(path, 'file'), 'kept'));
    await mounted((path) => expect(readFileSync(join(path, 'file'), 'utf8')).toBe('kept'));
    driver = await overlay2.open(env);
    await mounted((path) => expect(readFileSync(join(path, 'file'), 'utf8')).toBe('kept'));
  });

  it('is refused, and can be removed, once the machine has stopped', async () => {
    await mounted((path) => writeFileSync(join(path, 'file'), 'lost'));
    writeFileSync(join(env.root, container, 'volatile'), 'another boot');
    driver = await overlay2.open(env);
    await expect(driver.acquire(container)).rejects.toMatchObject({ kind: 'unavailable' });
    await driver.remove(container);
    expect(await driver.exists(container)).toBe(false);
  });
});
