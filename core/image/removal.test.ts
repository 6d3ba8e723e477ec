import { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Digest } from '@gantry/core/contracts/ids.js';
import { containerConfig, ImageRoom, nothingLeft, putImage } from '@gantry/test/fakes/image-room.js';
import { FakeRegistry } from '@gantry/test/fakes/registry.js';

let registry: FakeRegistry;
let room: ImageRoom;
let app: string;
const CONTAINER = 'c0ffee'.padEnd(64, '0');

beforeEach(async () => {
  registry = await new FakeRegistry().start();
  room = await ImageRoom.open();
  app = `${registry.host}/app`;
});
afterEach(async () => {
  await room.close();
  await registry.stop();
});

const pulled = async (name = 'app', contents = ['a', 'b']): Promise<Digest> => {
  const { id } = putImage(
    registry,
    name,
    'v',
    contents.map((content) => Buffer.from(content)),
  );
  await room.pull(`${registry.host}/${name}:v`);
  return id as Digest;
};
const remove = (name: string, force = false): Promise<string[]> =>
  room.images
    .remove(name, { force, noPrune: false })
    .then((all) => all.map((one) => ('deleted' in one ? `deleted ${one.deleted}` : `untagged ${one.untagged}`)));
const child = (parent: Digest, layer: string | undefined, repository = ''): Promise<Digest> =>
  room.images.commit({
    parent: room.images.resolve(parent),
    layer: layer === undefined ? undefined : Readable.from([Buffer.from(layer)]),
    config: containerConfig({ cmd: ['child'] }),
    history: { created: '2024-05-06T07:08:09Z', createdBy: 'sh', author: 'me', comment: 'why', emptyLayer: false },
    author: 'me',
    repository,
    tag: '',
  });

describe('removing an image', () => {
  it('takes its names, its record, its layers and its blobs', async () => {
    const id = await pulled();
    const lines = await remove(`${app}:v`);
    expect(lines.slice(0, 2)).toEqual([`untagged ${app}:v`, expect.stringMatching(/^untagged .*\/app@sha256:/)]);
    expect(lines[2]).toBe(`deleted ${id}`);
    expect(lines).toHaveLength(5);
    expect(await room.leftovers()).toEqual(nothingLeft);
    expect(await room.content.usage()).toBe(0);
    expect((await room.pastEvents()).map((event) => event.action)).toEqual(['pull', 'untag', 'untag', 'delete']);
    await expect(remove(`${app}:v`)).rejects.toThrow(`No such image: ${app}:v`);
  });

  it('takes only the name away while another one is left', async () => {
    const id = await pulled();
    await room.images.tag(`${app}:v`, 'other', 'x');
    expect(await remove('other:x')).toEqual(['untagged other:x']);
    await room.images.tag(id, 'other', 'x');
    await expect(remove(id)).rejects.toMatchObject({
      kind: 'conflict',
      message: `conflict: unable to delete ${id.slice(7, 19)} (must be forced) - image is referenced in multiple repositories`,
    });
    await expect(remove(id.slice(7, 19), true)).resolves.toContain(`deleted ${id}`);
  });

  it('by id takes the names of its one repository too', async () => {
    const id = await pulled();
    expect(await remove(id.slice(7, 15))).toEqual(expect.arrayContaining([`untagged ${app}:v`, `deleted ${id}`]));
  });

  it('refuses what a container uses, in the words that clients know', async () => {
    const id = await pulled();
    const short = id.slice(7, 19);
    room.images.useGuard((image) => (image === id ? { id: CONTAINER, running: false } : undefined));
    await expect(remove(`${app}:v`)).rejects.toMatchObject({
      kind: 'conflict',
      message: `conflict: unable to remove repository reference "${app}:v" (must force) - container c0ffee000000 is using its referenced image ${short}`,
    });
    await expect(remove(id)).rejects.toThrow(
      `conflict: unable to delete ${short} (must be forced) - image is being used by stopped container c0ffee000000`,
    );
    room.images.useGuard((image) => (image === id ? { id: CONTAINER, running: true } : undefined));
    await expect(remove(id, true)).rejects.toThrow(
      `conflict: unable to delete ${short} (cannot be forced) - image is being used by running container c0ffee000000`,
    );
    // By name and forced, the name goes and the image stays for the container.
    expect((await remove(`${app}:v`, true)).every((line) => line.startsWith('untagged'))).toBe(true);
    expect(room.images.resolve(id).repoTags).toEqual([]);
  });

  it('keeps layers that another image shares', async () => {
    const one = await pulled('app', ['base', 'one']);
    const two = await pulled('two', ['base', 'two']);
    expect((await remove(one)).filter((line) => line.startsWith('deleted'))).toHaveLength(2);
    expect(room.layers.unpacked.size).toBe(2);
    await room.content.path(room.images.layersOf(room.images.resolve(two))[0]!.blob);
    expect(await remove(two)).toHaveLength(5);
    expect(await room.leftovers()).toEqual(nothingLeft);
  });

  it('does not take a parent from its child, and takes it with the child when nothing names it', async () => {
    const parent = await pulled();
    const kid = await child(parent, 'added');
    await expect(remove(parent, true)).rejects.toThrow('(cannot be forced) - image has dependent child images');
    await room.images.remove(`${app}:v`, { force: false, noPrune: false });
    expect(room.images.resolve(parent).repoTags).toEqual([]);
    expect(await room.images.list({ all: false, filters: new Map() })).toMatchObject([{ id: kid }]);
    expect(await room.images.list({ all: true, filters: new Map() })).toHaveLength(2);
    expect(await remove(kid)).toEqual(expect.arrayContaining([`deleted ${kid}`, `deleted ${parent}`]));
    expect(await room.leftovers()).toEqual(nothingLeft);
  });

  it('is finished after a crash that came between its steps', async () => {
    const id = await pulled();
    const { release } = room.layers;
    room.layers.release = () => Promise.reject(new Error('killed'));
    await remove(id);
    room.layers.release = release;
    expect(await room.leftovers()).toMatchObject({ images: 0, unpacked: 2, intents: 1 });
    await room.restart();
    expect(await room.leftovers()).toEqual(nothingLeft);
    expect(await room.content.usage()).toBe(0);
  });
});

describe('pruning images', () => {
  it('takes those without a tag, or those that nobody uses', async () => {
    const tagged = await pulled('app', ['1']);
    const loose = await child(tagged, 'loose');
    const used = await child(tagged, 'used');
    room.images.useGuard((id) => (id === used ? { id: CONTAINER, running: false } : undefined));
    const first = await room.images.prune(new Map());
    expect(first.deleted).toContainEqual({ deleted: loose });
    expect(first.deleted).not.toContainEqual({ deleted: tagged });
    expect(first.spaceReclaimed).toBe(5);
    room.images.useGuard(() => undefined);
    await room.images.prune(new Map([['dangling', ['false']]]));
    expect(await room.leftovers()).toEqual(nothingLeft);
    await expect(room.images.prune(new Map([['reference', ['x']]]))).rejects.toThrow("invalid filter 'reference'");
  });

  it('honours labels and ages', async () => {
    const id = await pulled();
    await room.images.remove(`${app}:v`, { force: false, noPrune: false });
    await pulled();
    expect(
      (
        await room.images.prune(
          new Map([
            ['dangling', ['false']],
            ['label', ['no']],
          ]),
        )
      ).deleted,
    ).toEqual([]);
    expect(
      (
        await room.images.prune(
          new Map([
            ['dangling', ['false']],
            ['until', ['2000-01-01']],
          ]),
        )
      ).deleted,
    ).toEqual([]);
    expect(
      (
        await room.images.prune(
          new Map([
            ['dangling', ['false']],
            ['until', ['1h']],
          ]),
        )
      ).deleted,
    ).toContainEqual({ deleted: id });
  });
});

describe('filters of a list', () => {
  it.each<[string, [string, string[]][], string[]]>([
    ['a reference', [['reference', ['*/app']]], ['app']],
    ['a reference with a tag', [['reference', ['*/*:v']]], ['app', 'two']],
    ['no such reference', [['reference', ['app']]], []],
    ['a label', [['label', ['kind=two']]], ['two']],
    ['the lack of a label', [['label!', ['kind']]], ['app']],
    ['dangling', [['dangling', ['true']]], []],
    ['not dangling', [['dangling', ['0']]], ['app', 'two']],
    ['age', [['until', ['2020-01-01T00:00:00Z']]], []],
  ])('%s', async (_, filters, expected) => {
    for (const name of ['app', 'two']) {
      putImage(registry, name, 'v', [Buffer.from(name)], { config: { Labels: name === 'two' ? { kind: 'two' } : {} } });
      await room.pull(`${registry.host}/${name}:v`);
    }
    const found = await room.images.list({ all: false, filters: new Map(filters) });
    expect(found.flatMap((image) => image.repoTags).toSorted()).toEqual(expected.map((name) => `${registry.host}/${name}:v`));
  });

  it('refuses keys and values that mean nothing', async () => {
    const list = (key: string, ...values: string[]): Promise<unknown> =>
      room.images.list({ all: false, filters: new Map([[key, values]]) });
    await expect(list('colour', 'red')).rejects.toThrow("invalid filter 'colour'");
    await expect(list('dangling', 'maybe')).rejects.toThrow("invalid filter 'dangling=[maybe]'");
    await expect(list('before', 'nothing')).rejects.toThrow('No such image: nothing:latest');
    await expect(list('until', 'yesterday')).rejects.toThrow('failed to parse');
  });
});

describe('committing', () => {
  it('puts one layer on top and keeps the history', async () => {
    const parent = await pulled();
    const id = await child(parent, 'added', 'mine');
    const image = room.images.resolve('mine');
    expect(image).toMatchObject({ id, parent, author: 'me', comment: 'why', config: { cmd: ['child'] }, repoTags: ['mine:latest'] });
    expect(image.diffIds).toHaveLength(3);
    expect((await room.images.history('mine')).map((row) => [row.id, row.createdBy, row.size, row.tags])).toEqual([
      [id, 'sh', 5, ['mine:latest']],
      [parent, 'step 1', 1, [`${app}:v`]],
      ['<missing>', 'step 0', 1, []],
    ]);
    expect((await room.images.usage()).images.map((one) => one.sharedSize)).toEqual([2, 2]);
  });

  it('makes no layer of a change of configuration alone, nor of an empty archive', async () => {
    const parent = await pulled();
    const bare = room.images.resolve(await child(parent, undefined, 'bare'));
    expect(bare.diffIds).toHaveLength(2);
    expect(bare.history.at(-1)?.emptyLayer).toBe(true);
    expect(room.images.resolve(await child(parent, '\0'.repeat(1024), 'empty')).diffIds).toHaveLength(2);
  });

  it('leaves nothing when the archive breaks off', async () => {
    const parent = await pulled();
    const before = await room.leftovers();
    const broken = Readable.from(
      (async function* () {
        yield Buffer.from('x');
        throw new Error('the container went away');
      })(),
    );
    await expect(
      room.images.commit({
        parent: room.images.resolve(parent),
        layer: broken,
        config: containerConfig({}),
        history: { created: '', createdBy: '', author: '', comment: '', emptyLayer: false },
        author: '',
        repository: '',
        tag: '',
      }),
    ).rejects.toThrow('went away');
    expect(await room.leftovers()).toEqual(before);
  });
});
