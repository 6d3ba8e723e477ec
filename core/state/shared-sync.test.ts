import { mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Database } from './database.js';
import { SharedSync } from './shared-sync.js';

describe('a sync for many', () => {
  let folder: string;
  /** Syncs that began, to be ended by the test. */
  let begun: PromiseWithResolvers<void>[];
  let shared: SharedSync;

  const settled = async (): Promise<void> => {
    for (let turn = 0; turn < 10; turn++) await Promise.resolve();
  };

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'gantry-sync-'));
    begun = [];
    shared = new SharedSync(openSync(join(folder, 'log'), 'w'), () => {
      const one = Promise.withResolvers<void>();
      begun.push(one);
      return one.promise;
    });
  });
  afterEach(() => {
    shared.close();
    rmSync(folder, { recursive: true });
  });

  it('serves all that come during one sync by the next one', async () => {
    const first = shared.sync();
    await settled();
    const later = [shared.sync(), shared.sync(), shared.sync()];
    await settled();
    expect(begun).toHaveLength(1);
    begun[0]?.resolve();
    await first;
    await settled();
    expect(begun).toHaveLength(2);
    begun[1]?.resolve();
    await Promise.all(later);
    expect(begun).toHaveLength(2);
  });

  it('tells a failure to those who waited, and tries again for the next', async () => {
    const failing = shared.sync();
    await settled();
    begun[0]?.reject(new Error('EIO'));
    await expect(failing).rejects.toThrow('EIO');
    const good = shared.sync();
    await settled();
    begun[1]?.resolve();
    await expect(good).resolves.toBeUndefined();
  });

  it('makes transactions of a database durable, each at once visible', async () => {
    const database = Database.open(join(folder, 'state.db'));
    try {
      database.migrate('trial', ['CREATE TABLE trial (n INTEGER) STRICT']);
      const waiting = [1, 2, 3].map((n) => database.durable(() => database.run('INSERT INTO trial VALUES (?)', n)));
      expect(database.all('SELECT n FROM trial')).toHaveLength(3);
      await Promise.all(waiting);
      await expect(
        database.durable(() => {
          database.run('INSERT INTO trial VALUES (4)');
          throw new Error('no');
        }),
      ).rejects.toThrow('no');
      expect(database.all('SELECT n FROM trial')).toHaveLength(3);
    } finally {
      database.close();
    }
    const again = Database.open(join(folder, 'state.db'));
    expect(again.all('SELECT n FROM trial')).toHaveLength(3);
    again.close();
  });
});
