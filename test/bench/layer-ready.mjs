// A container's layer by the storage driver alone: dockerd's drivers cannot be asked without dockerd, so nobody stands beside it.
import { mkdirSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { drivers } from '../../drivers/dist/index.js';
import { host } from '../../native/dist/index.js';
import { quantile, row } from './report.mjs';

const IMAGE_LAYERS = 10;
const ROUNDS = 200;

const quiet = { debug() {}, info() {}, warn() {}, error() {} };
const id = (number) => number.toString(16).padStart(64, '0');

/** On ten layers: made and mounted, which is when a container could begin; then taken away again. */
export async function measureReady(name, folder) {
  const room = join(folder, 'driver');
  for (const part of ['data', 'run', 'mounted']) mkdirSync(join(room, part), { recursive: true });
  const manifest = drivers.find((one) => one.kind === 'storage' && one.name === name);
  const env = { root: join(room, 'data'), runRoot: join(room, 'run'), instance: 'bench', options: {}, host, log: quiet };
  const driver = await manifest.open(env);
  const target = join(room, 'mounted');
  const times = { ready: [], gone: [] };
  try {
    for (let layer = 1; layer <= IMAGE_LAYERS; layer++)
      await driver.create(id(layer), { writable: true, ...(layer > 1 ? { parent: id(layer - 1) } : {}) });
    for (let round = 0; round < ROUNDS; round++) {
      const snapshot = id(1000 + round);
      const began = performance.now();
      await driver.create(snapshot, { parent: id(IMAGE_LAYERS), writable: true });
      for (const mount of await driver.acquire(snapshot)) await host.files.mount(mount, target);
      const ready = performance.now();
      await host.files.unmount(target);
      await driver.release(snapshot);
      await driver.remove(snapshot);
      times.ready.push(ready - began);
      times.gone.push(performance.now() - ready);
    }
    for (const [what, of] of [
      ['created and mounted', times.ready],
      ['unmounted and removed', times.gone],
    ])
      for (const [word, q] of [
        ['p50', 0.5],
        ['p99', 0.99],
      ])
        row(`${name}: layer of the driver alone ${what}, ${word}`, 'ms', ROUNDS, quantile(of, q), {});
  } finally {
    for (const snapshot of await driver.list()) await driver.remove(snapshot);
    await driver.close();
    await rm(room, { recursive: true });
  }
}
