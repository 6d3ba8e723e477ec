import { afterEach, expect, it, vi } from 'vitest';
import { silentLog } from '@gantry/test/fakes/settings.js';
import { encode, type EtcdEntry, type WatchAnswer } from './etcd-wire.js';
import { Mirror } from './mirror.js';

const entry = (key: string, value: string, revision: number): EtcdEntry => ({
  key: encode(`/test/${key}`),
  value: encode(value),
  mod_revision: String(revision),
});

/** A store whose stream tells of what the test lets it tell of. */
class Store {
  reads = 0;
  compared = 0;
  entries: EtcdEntry[] = [];
  revision = 1;
  tell: (answer: WatchAnswer) => void = () => undefined;

  async readAll(): Promise<{ entries: readonly EtcdEntry[]; revision: string }> {
    this.reads++;
    return { entries: this.entries, revision: String(this.revision) };
  }

  stream(_path: string, _body: unknown, each: (line: unknown) => void, signal: AbortSignal): Promise<never> {
    this.tell = each;
    return new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)));
  }

  async call<T>(): Promise<T> {
    this.compared++;
    const newest = this.entries.toSorted((a, b) => Number(b.mod_revision) - Number(a.mod_revision)).slice(0, 1);
    return { header: { revision: String(this.revision) }, kvs: newest, count: String(this.entries.length) } as T;
  }
}

let last: Mirror | undefined;

async function follow(store: Store): Promise<{ mirror: Mirror; told: string[] }> {
  const mirror = (last = new Mirror(store, '/test/', silentLog));
  mirror.open();
  await mirror.whenKnown();
  const told: string[] = [];
  mirror.observe('', (changes) => told.push(...changes.map(({ key, value }) => `${key}=${value ?? 'gone'}`)));
  return { mirror, told };
}

afterEach(async () => {
  await last?.close();
});

it('reads nothing again when keys of others changed', async () => {
  const store = new Store();
  store.entries = [entry('a', '1', 1)];
  const { mirror } = await follow(store);
  store.revision = 9;
  mirror.heard(9n);
  expect(store.compared).toBe(0);
  mirror.heard(9n);
  await vi.waitFor(() => expect(store.compared).toBe(1), 60_000);
  // What was found is remembered.
  mirror.heard(9n);
  mirror.heard(9n);
  expect(store).toMatchObject({ reads: 1, compared: 1 });
});

it.each([
  ['a key that is new', [entry('a', '1', 1), entry('b', '1', 1), entry('c', '1', 2)], ['c=1']],
  ['a key that is gone', [entry('a', '1', 1)], ['b=gone']],
  ['a key with another value', [entry('a', '2', 2), entry('b', '1', 1)], ['a=2']],
])('reads all again when it was not told of %s', { timeout: 120_000 }, async (_what, entries, expected) => {
  const store = new Store();
  store.entries = [entry('a', '1', 1), entry('b', '1', 1)];
  const { mirror, told } = await follow(store);
  told.length = 0;
  store.entries = entries;
  store.revision = 2;
  mirror.heard(2n);
  mirror.heard(2n);
  await vi.waitFor(() => expect(told).toEqual(expected), 90_000);
  expect(store.reads).toBe(2);
});

it('tells of values that changed, and not of keys that were only put again', async () => {
  const store = new Store();
  store.entries = [entry('a', '1', 1)];
  const { told } = await follow(store);
  store.tell({ result: { events: [{ kv: entry('a', '1', 2) }, { kv: entry('b', '1', 2) }] } });
  store.tell({
    result: {
      events: [
        { type: 'DELETE', kv: entry('c', '', 3) },
        { type: 'DELETE', kv: entry('a', '', 3) },
      ],
    },
  });
  expect(told).toEqual(['a=1', 'b=1', 'a=gone']);
});
