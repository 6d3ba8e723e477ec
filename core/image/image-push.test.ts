import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Digest } from '@gantry/core/contracts/ids.js';
import { containerConfig, ImageRoom, lineOf, putImage } from '@gantry/test/fakes/image-room.js';
import { FakeRegistry } from '@gantry/test/fakes/registry.js';

let registry: FakeRegistry;
let other: FakeRegistry;
let room: ImageRoom;

beforeEach(async () => {
  registry = await new FakeRegistry().start();
  other = await new FakeRegistry().start();
  room = await ImageRoom.open({ maxDownloadAttempts: 2 });
});
afterEach(async () => {
  await room.close();
  await registry.stop();
  await other.stop();
});

async function push(name: string, tag = '', signal = new AbortController().signal): Promise<string[]> {
  const lines: string[] = [];
  await room.images.push({ name, tag, platform: undefined, auth: undefined }, (progress) => lines.push(lineOf(progress)), signal);
  return lines;
}

const committed = (parent: string, layer: Buffer, repository: string): Promise<Digest> =>
  room.images.commit({
    parent: room.images.resolve(parent),
    layer: Readable.from([layer]),
    config: containerConfig({}),
    history: { created: '2024-05-06T07:08:09Z', createdBy: '', author: '', comment: '', emptyLayer: false },
    author: '',
    repository,
    tag: 'v',
  });

describe('a push', () => {
  it('gives another registry what one gave us, byte for byte, and says what Docker says', async () => {
    const image = putImage(registry, 'app', 'v', [Buffer.from('one'), Buffer.from('two')]);
    await room.pull(`${registry.host}/app:v`);
    await room.images.tag(image.id, `${other.host}/copy`, 'v');
    const lines = await push(`${other.host}/copy`, 'v');
    const ids = room.images.resolve(image.id).diffIds.map((diffId) => diffId.slice(7, 19));
    expect(lines.slice(0, 3)).toEqual([
      `The push refers to repository [${other.host}/copy]`,
      `${ids[1]}: Preparing`,
      `${ids[0]}: Preparing`,
    ]);
    expect(lines).toEqual(expect.arrayContaining(ids.map((id) => `${id}: Pushed`)));
    expect(lines.slice(-2)).toEqual([`v: digest: ${image.digest} size: ${image.size}`, `aux v ${image.digest} ${image.size}`]);
    expect(other.manifests.get('copy:v')).toEqual(registry.manifests.get('app:v'));
    for (const [digest, bytes] of other.blobs) expect(registry.blobs.get(digest)).toEqual(bytes);
    expect(room.images.resolve(image.id).repoDigests).toContain(`${other.host}/copy@${image.digest}`);
    expect((await push(`${other.host}/copy`, 'v')).filter((line) => line.endsWith('Layer already exists'))).toHaveLength(2);
  });

  it('has the registry take layers from its other repositories', async () => {
    const image = putImage(registry, 'app', 'v', [Buffer.from('one')]);
    await room.pull(`${registry.host}/app:v`);
    await room.images.tag(image.id, `${registry.host}/copy`, 'v');
    // This registry says that a blob is not in a repository until it was mounted there.
    registry.faults = [{ on: new RegExp(`HEAD .*copy/blobs/${image.layers[0]}`), status: 404 }];
    expect(await push(`${registry.host}/copy`)).toContain(`${room.images.resolve(image.id).diffIds[0]?.slice(7, 19)}: Mounted from app`);
    expect(registry.seen(/POST .*mount=/)[0]?.path).toContain('from=app');
  });

  it('compresses a layer that was made here once, and keeps that', async () => {
    putImage(registry, 'app', 'v', [Buffer.from('one')]);
    await room.pull(`${registry.host}/app:v`);
    const id = await committed(`${registry.host}/app:v`, Buffer.alloc(3_000_000, 'x'), `${other.host}/mine`);
    const first = await push(`${other.host}/mine`, 'v');
    const layers = room.images.layersOf(room.images.resolve(id));
    expect(layers[1]?.blob).not.toBe(layers[1]?.diffId);
    expect((await push(`${other.host}/mine`, 'v')).at(-1)).toBe(first.at(-1));
    await room.restart();
    await room.content.collect();
    other.manifests.clear();
    other.blobs.clear();
    expect((await push(`${other.host}/mine`, 'v')).at(-1)).toBe(first.at(-1));
    // What was pushed can be pulled.
    await room.images.remove(id, { force: true, noPrune: true });
    await room.pull(`${other.host}/mine:v`);
    expect(room.images.resolve(`${other.host}/mine:v`).id).toBe(id);
  });

  it('sends a large blob in a stream and goes on where it broke', async () => {
    const image = putImage(registry, 'app', 'v', [randomBytes(3_000_000)]);
    await room.pull(`${registry.host}/app:v`);
    await room.images.tag(image.id, `${other.host}/big`, 'v');
    other.faults = [{ on: /PATCH/, status: 500, times: 1 }];
    const lines = await push(`${other.host}/big`, 'v');
    expect(lines.some((line) => line.includes('Retrying'))).toBe(true);
    expect(lines.some((line) => line.endsWith(': Pushing'))).toBe(true);
    expect(other.seen(/GET .*uploads/)).toHaveLength(1);
    expect(other.blobs.get(image.layers[0] ?? '')).toEqual(registry.blobs.get(image.layers[0] ?? ''));
  });

  it('goes on with a new token when the old one ends during an upload', async () => {
    const image = putImage(registry, 'app', 'v', [randomBytes(3_000_000)]);
    await room.pull(`${registry.host}/app:v`);
    await room.images.tag(image.id, `${other.host}/big`, 'v');
    other.credentials = '';
    const challenge = { 'WWW-Authenticate': `Bearer realm="http://${other.host}/token",service="fake"` };
    other.faults = [{ on: /PATCH/, status: 401, headers: challenge, times: 1 }];
    await push(`${other.host}/big`, 'v');
    expect(other.blobs.has(image.layers[0] ?? '')).toBe(true);
    expect(other.seen(/GET \/token/).length).toBeGreaterThan(1);
  });

  it('uploads what the registry does not want to mount', async () => {
    const image = putImage(registry, 'app', 'v', [Buffer.from('one')]);
    await room.pull(`${registry.host}/app:v`);
    await room.images.tag(image.id, `${registry.host}/copy`, 'v');
    registry.faults = [
      { on: /HEAD .*copy/, status: 404 },
      { on: /POST .*copy/, status: 405, times: 1 },
    ];
    expect(await push(`${registry.host}/copy`)).toContain(`${room.images.resolve(image.id).diffIds[0]?.slice(7, 19)}: Pushed`);
  });

  it('pushes all tags of a repository when none is named', async () => {
    const image = putImage(registry, 'app', 'v', [Buffer.from('one')]);
    await room.pull(`${registry.host}/app:v`);
    for (const tag of ['a', 'b']) await room.images.tag(image.id, `${other.host}/all`, tag);
    await push(`${other.host}/all`);
    expect([...other.manifests.keys()].filter((key) => !key.includes('@')).toSorted()).toEqual(['all:a', 'all:b']);
  });

  it('fails with the words of the registry, and leaves nothing behind', async () => {
    const image = putImage(registry, 'app', 'v', [Buffer.from('one')]);
    await room.pull(`${registry.host}/app:v`);
    await room.images.tag(image.id, `${other.host}/no`, 'v');
    const before = await room.leftovers();
    other.faults = [
      { on: /POST/, status: 403, body: '{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}' },
    ];
    await expect(push(`${other.host}/no`, 'v')).rejects.toMatchObject({
      kind: 'forbidden',
      message: 'denied: requested access to the resource is denied',
    });
    expect(await room.leftovers()).toEqual(before);
    expect(other.manifests.size).toBe(0);
    await expect(push('nothing:here')).rejects.toThrow('An image does not exist locally with the tag: nothing');
    await expect(push(`${registry.host}/app@${image.digest}`)).rejects.toThrow('cannot push a digest reference');
  });
});

describe('questions to a registry', () => {
  it('tell what a name stands for without pulling it', async () => {
    const image = putImage(registry, 'app', 'v', [Buffer.from('one')], { platform: { os: 'linux', architecture: 'arm64', variant: 'v8' } });
    expect(await room.images.distribution(`${registry.host}/app:v`, undefined)).toMatchObject({
      digest: image.digest,
      size: image.size,
      platforms: [{ os: 'linux', architecture: 'arm64', variant: 'v8' }],
    });
    expect(await room.content.usage()).toBe(0);
  });

  it('log in, and keep a token that lasts when the registry gives one', async () => {
    registry.credentials = 'me:right';
    const auth = { username: 'me', password: 'right', identityToken: '', registryToken: '', serverAddress: registry.host };
    expect(await room.images.login(auth)).toEqual({ status: 'Login Succeeded', identityToken: 'refresh-me' });
    await expect(room.images.login({ ...auth, password: 'wrong' })).rejects.toMatchObject({
      kind: 'unauthorized',
      message: 'unauthorized: incorrect username or password',
    });
  });

  it('say so when a registry has no search', async () => {
    await expect(room.images.search(`${registry.host}/x`, { limit: 0, filters: new Map(), auth: undefined })).rejects.toMatchObject({
      kind: 'not-implemented',
      message: expect.stringContaining('has no search') as string,
    });
    registry.faults = [
      {
        on: /\/v1\/search/,
        status: 200,
        body: JSON.stringify({
          results: [
            { name: 'a', description: 'd', star_count: 3, is_official: true },
            { name: 'b', star_count: 1 },
          ],
        }),
      },
    ];
    expect(await room.images.search(`${registry.host}/x`, { limit: 5, filters: new Map([['stars', ['2']]]), auth: undefined })).toEqual([
      { name: `${registry.host}/a`, description: 'd', stars: 3, official: true },
    ]);
    await expect(room.images.search('x', { limit: 101, filters: new Map(), auth: undefined })).rejects.toThrow('outside the range');
  });
});
