import { describe, expect, it } from 'vitest';
import { container } from '../../test/fakes/records.js';
import { Database } from '../state/database.js';
import { ContainerStore } from './container-store.js';

const open = (db = Database.open(':memory:')): ContainerStore => {
  const store = new ContainerStore(db);
  store.open();
  return store;
};
const [ID1, ID2] = [`ab${'1'.repeat(62)}`, `ab${'2'.repeat(62)}`];

describe('the records of containers', () => {
  it('are found by id, name with or without slash, and unique prefix, in this order', () => {
    const store = open();
    store.insert(container({ id: ID1, name: 'web' }));
    store.insert(container({ id: ID2, name: 'ab1' }));
    expect(store.get(ID1).name).toBe('web');
    expect(store.get('/web').id).toBe(ID1);
    expect(store.get('ab1').id).toBe(ID2);
    expect(store.get('ab11').id).toBe(ID1);
    expect(() => store.get('ab')).toThrow('Multiple IDs found with provided prefix: ab');
    expect(() => store.get('nope')).toThrow('No such container: nope');
    expect(() => store.get('')).toThrow('No such container: ');
  });

  it('hold a name for one container only', () => {
    const store = open();
    const release = store.reserve('web', ID1);
    const taken = `Conflict. The container name "/web" is already in use by container "${ID1}". You have to remove (or rename) that container to be able to reuse that name.`;
    expect(() => store.reserve('web', ID2)).toThrow(taken);
    release();
    store.insert(container({ id: ID2, name: 'web' }));
    release();
    expect(store.get('web').id).toBe(ID2);
    store.put(container({ id: ID2, name: 'new' }));
    expect(store.nameTaken('web')).toBe(false);
  });

  it('survive', () => {
    const db = Database.open(':memory:');
    const store = open(db);
    const record = container({ id: ID1, name: 'web' });
    store.insert(record);
    store.updateState(ID1, { exitCode: 5 });
    store.remember(ID1, () => ({ execIds: ['x'] }));
    const again = open(db).get('web');
    expect(again).toMatchObject({ state: { exitCode: 5 }, execIds: [] });
    store.delete(ID1);
    store.delete(ID1);
    expect(open(db).size).toBe(0);
  });
});
