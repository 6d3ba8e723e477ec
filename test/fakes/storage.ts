import type { MigrationStep, Storage } from '@gantry/core/storage/storage.js';
import type { Check, CheckOptions } from '@gantry/core/system/check.js';
import { digestOf } from './records.js';

export class FakeStorage implements Storage {
  steps: MigrationStep[] = [];
  failure: Error | undefined;
  readonly calls: [string, ...unknown[]][] = [];
  private readonly use = {
    name: 'overlay2',
    isDefault: true,
    unavailable: '',
    layers: 1,
    layersSize: 42,
    containers: 0,
    containersSize: 0,
    orphans: 0,
    orphansSize: 0,
  };
  private readonly layer = {
    driver: 'overlay2',
    chainId: digestOf('c'),
    diffId: digestOf('d'),
    blob: digestOf('b'),
    snapshot: 'e'.repeat(64),
    size: 42,
    holders: [{ kind: 'image', id: digestOf('a'), name: 'busybox:latest' }],
  } as const;

  async usage(): ReturnType<Storage['usage']> {
    return { drivers: [this.use], blobsSize: 7, logsSize: 3 };
  }

  async inspect(driver: string): ReturnType<Storage['inspect']> {
    this.calls.push(['inspect', driver]);
    const containerFiles = [{ id: 'f'.repeat(64), name: 'box', status: 'exited', size: 5, quota: undefined }];
    return { use: this.use, chosenBecause: 'the best', status: [], unpacked: [this.layer], containerFiles, orphanSnapshots: [] };
  }

  async imageLayers(name: string): ReturnType<Storage['imageLayers']> {
    this.calls.push(['imageLayers', name]);
    const { chainId, diffId, blob } = this.layer;
    return [{ chainId, diffId, blob, blobSize: undefined, places: [this.layer] }];
  }

  async prune(options: { all: boolean }): ReturnType<Storage['prune']> {
    this.calls.push(['prune', options]);
    return { removed: ['overlay2 x'], spaceReclaimed: 1 };
  }

  async migrate(...[request, tell]: Parameters<Storage['migrate']>): Promise<void> {
    this.calls.push(['migrate', request]);
    for (const step of this.steps) tell(step);
    if (this.failure) throw this.failure;
  }
}

export class FakeCheck implements Check {
  readonly calls: CheckOptions[] = [];

  async run(options: CheckOptions): ReturnType<Check['run']> {
    this.calls.push(options);
    return [
      { area: 'layer', subject: 'x', problem: 'it is gone', remedy: 'unpack it', state: options.repair ? 'repaired' : 'found', error: '' },
    ];
  }
}
