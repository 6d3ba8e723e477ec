import { randomBytes } from 'node:crypto';
import { truncate } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { mediaTypes } from '@gantry/core/content/media-types.js';
import { EngineError } from '@gantry/core/contracts/errors.js';
import type { Digest } from '@gantry/core/contracts/ids.js';
import { ImageRoom, nothingLeft, putImage, type PutImage } from '@gantry/test/fakes/image-room.js';
import { FakeRegistry, type Fault } from '@gantry/test/fakes/registry.js';

let registry: FakeRegistry;
let room: ImageRoom;
const small = [Buffer.from('one'), Buffer.from('two')];
const short = (digest = ''): string => digest.slice(7, 19);

beforeEach(async () => {
  registry = await new FakeRegistry().start();
  room = await ImageRoom.open({ maxDownloadAttempts: 2 });
});
afterEach(async () => {
  await room.close();
  await registry.stop();
});

describe('a pull', () => {
  it('says what Docker says, in its order', async () => {
    const image = putImage(registry, 'team/app', 'v1', small);
    const name = `${registry.host}/team/app:v1`;
    const lines = await room.pull(name);
    const [a, b] = image.layers.map(short);
    expect(lines[0]).toBe('v1: Pulling from team/app');
    expect(lines.slice(1, 3)).toEqual([`${a}: Pulling fs layer`, `${b}: Pulling fs layer`]);
    for (const id of [a, b])
      expect(lines.filter((line) => line.startsWith(`${id}: `)).map((line) => line.slice(14))).toEqual([
        'Pulling fs layer',
        'Downloading',
        'Verifying Checksum',
        'Download complete',
        'Extracting',
        'Pull complete',
      ]);
    expect(lines.indexOf(`${a}: Pull complete`)).toBeLessThan(lines.indexOf(`${b}: Extracting`));
    expect(lines.slice(-2)).toEqual([`Digest: ${image.digest}`, `Status: Downloaded newer image for ${name}`]);

    const again = await room.pull(name);
    expect(again).toEqual([
      'v1: Pulling from team/app',
      `${a}: Already exists`,
      `${b}: Already exists`,
      `Digest: ${image.digest}`,
      `Status: Image is up to date for ${name}`,
    ]);
    expect(registry.seen(/^GET .*blobs/)).toHaveLength(3);
    expect(room.layers.unpacks).toBe(2);
  });

  it('fails before its first line when the storage driver is none', async () => {
    putImage(registry, 'app', 'v', small);
    room.layers.prepare = () => Promise.reject(new EngineError('not-found', 'no such storage driver: x'));
    const lines: unknown[] = [];
    const request = { name: `${registry.host}/app:v`, tag: '', platform: undefined, auth: undefined, storageDriver: 'x' };
    await expect(room.images.pull(request, (line) => lines.push(line), new AbortController().signal)).rejects.toMatchObject({
      kind: 'not-found',
    });
    expect(lines).toEqual([]);
  });

  it('makes an image that can be found by all its names, also after a restart', async () => {
    const image = putImage(registry, 'app', 'latest', small, { config: { Labels: { a: 'b' } } });
    await room.pull(`${registry.host}/app`, { tag: 'latest' });
    for (let round = 0; round < 2; round++) {
      for (const name of [
        `${registry.host}/app`,
        `${registry.host}/app:latest`,
        `${registry.host}/app@${image.digest}`,
        image.id,
        short(image.id),
        image.id.slice(7),
        image.id.slice(0, 20),
      ])
        expect([room.images.resolve(name).id, room.images.idOf(name)]).toEqual([image.id, image.id]);
      expect(await room.images.list({ all: false, filters: new Map() })).toMatchObject([
        {
          id: image.id,
          created: '2024-01-02T03:04:05.123456789Z',
          repoTags: [`${registry.host}/app:latest`],
          repoDigests: [`${registry.host}/app@${image.digest}`],
          config: { cmd: ['sh'], env: ['PATH=/bin'], labels: { a: 'b' } },
          size: 6,
        },
      ]);
      await room.restart();
    }
    expect(() => room.images.resolve('nope')).toThrow('No such image: nope:latest');
    expect(() => room.images.resolve('Nope')).toThrow('invalid reference format: repository name (library/Nope) must be lowercase');
    expect([room.images.find('Nope'), room.images.idOf('Nope'), room.images.idOf('nope')]).toEqual([undefined, undefined, undefined]);
    expect(await room.pastEvents()).toMatchObject([
      { action: 'pull', id: `${registry.host}/app:latest`, attributes: { name: `${registry.host}/app`, a: 'b' } },
    ]);
  });

  it('chooses the platform that runs here, or the one that is asked for', async () => {
    const amd = putImage(registry, 'multi', undefined, [Buffer.from('amd')], { platform: { os: 'linux', architecture: 'amd64' } });
    const arm = putImage(registry, 'multi', undefined, [Buffer.from('arm')], {
      platform: { os: 'linux', architecture: 'arm64', variant: 'v8' },
    });
    const entry = ({ digest, size }: { digest: string; size: number }, architecture: string): object => ({
      mediaType: mediaTypes.dockerManifest,
      digest,
      size,
      platform: { os: 'linux', architecture },
    });
    const index = registry.putManifest(
      'multi',
      'latest',
      { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: [entry(arm, 'arm64'), entry(amd, 'amd64')] },
      mediaTypes.ociIndex,
    );
    const name = `${registry.host}/multi:latest`;
    expect((await room.pull(name, { platform: 'linux/amd64' })).at(-2)).toBe(`Digest: ${index.digest}`);
    expect(room.images.resolve(name)).toMatchObject({ id: amd.id, repoDigests: [`${registry.host}/multi@${index.digest}`] });
    await room.pull(name, { platform: 'linux/arm64' });
    expect(room.images.resolve(name).id).toBe(arm.id);
    await expect(room.pull(name, { platform: 'linux/s390x' })).rejects.toThrow(
      'no matching manifest for linux/s390x in the manifest list entries',
    );
    expect(await room.pull(`${registry.host}/multi@${amd.digest}`, { platform: 'linux/s390x' })).toContain(
      `WARNING: image with reference ${registry.host}/multi@${amd.digest} was found but does not match the specified platform: wanted linux/s390x, actual: linux/amd64`,
    );
  });

  it('takes all tags, over several pages', async () => {
    registry.pageSize = 2;
    for (const tag of ['a', 'b', 'c', 'd', 'e']) putImage(registry, 'tags', tag, [Buffer.from(tag)]);
    const lines = await room.pull(`${registry.host}/tags`);
    expect(lines.at(-1)).toBe(`Status: Downloaded newer image for ${registry.host}/tags`);
    expect((await room.images.list({ all: false, filters: new Map() })).flatMap((image) => image.repoTags)).toHaveLength(5);
  });

  it('shares one transfer between two clients that want the same', async () => {
    const image = putImage(registry, 'app', 'v', [randomBytes(400_000)]);
    registry.faults = [{ on: /GET .*blobs/, delayMs: 50 }];
    const [one, two] = await Promise.all([room.pull(`${registry.host}/app:v`), room.pull(`${registry.host}/app:v`)]);
    expect(registry.seen(new RegExp(`GET .*${image.layers[0]}`))).toHaveLength(1);
    expect(one).toContain(`${short(image.layers[0])}: Pull complete`);
    expect(two).toContain(`${short(image.layers[0])}: Download complete`);
    expect(await room.leftovers()).toMatchObject({ images: 1, intents: 0 });
  });

  it('goes on for the others when one of them leaves', async () => {
    putImage(registry, 'app', 'v', [randomBytes(400_000)]);
    registry.faults = [{ on: /GET .*blobs/, delayMs: 100 }];
    const leaver = new AbortController();
    const leaving = room.pull(`${registry.host}/app:v`, { signal: leaver.signal });
    const staying = room.pull(`${registry.host}/app:v`);
    setTimeout(() => leaver.abort(), 150);
    await expect(leaving).rejects.toMatchObject({ kind: 'cancelled' });
    await staying;
    expect(await room.leftovers()).toMatchObject({ images: 1, intents: 0, temporary: [] });
  });

  it('unpacks a layer while the next one still comes in', async () => {
    const image = putImage(registry, 'app', 'v', small);
    registry.faults = [{ on: new RegExp(`GET .*${image.layers[1]}`), delayMs: 1_000 }];
    const lines = await room.pull(`${registry.host}/app:v`);
    expect(lines.indexOf(`${short(image.layers[0])}: Pull complete`)).toBeLessThan(lines.indexOf(`${short(image.layers[1])}: Downloading`));
  });

  it('takes an image without layers, and one with the same layer twice', async () => {
    const none = putImage(registry, 'none', 'v', []);
    await room.pull(`${registry.host}/none:v`);
    expect(room.images.resolve(none.id)).toMatchObject({ diffIds: [], size: 0 });
    const twice = putImage(registry, 'twice', 'v', [Buffer.from('same'), Buffer.from('same')]);
    await room.pull(`${registry.host}/twice:v`);
    expect(registry.seen(new RegExp(`GET .*${twice.layers[0]}`))).toHaveLength(1);
    expect(room.images.resolve(twice.id).diffIds).toHaveLength(2);
    for (const { id } of [none, twice]) await room.images.remove(id, { force: false, noPrune: false });
    expect(await room.leftovers()).toEqual(nothingLeft);
  });

  it('has no more downloads at a time than configured', async () => {
    putImage(
      registry,
      'app',
      'v',
      Array.from({ length: 9 }, (_, index) => Buffer.from(`layer ${index}`)),
    );
    registry.faults = [{ on: /GET .*blobs/, delayMs: 10 }];
    const lines = await room.pull(`${registry.host}/app:v`);
    expect(registry.mostSending).toBeLessThanOrEqual(3);
    expect(lines.filter((line) => line.endsWith(': Waiting')).length).toBeGreaterThan(0);
  });
});

describe('a pull that meets a bad registry', () => {
  it('resumes a blob where the connection broke', async () => {
    const image = putImage(registry, 'app', 'v', [randomBytes(300_000)]);
    registry.faults = [{ on: new RegExp(`GET .*${image.layers[0]}`), resetAfter: 100_000, times: 1 }];
    const lines = await room.pull(`${registry.host}/app:v`);
    expect(lines.some((line) => line.includes('Retrying in 1 second'))).toBe(true);
    expect(registry.seen(new RegExp(`GET .*${image.layers[0]}`)).at(-1)?.headers.range).toMatch(/^bytes=[1-9]\d*-$/);
    expect(room.images.resolve(image.id).id).toBe(image.id);
  });

  it('skips what it has when the registry knows no ranges', async () => {
    const image = putImage(registry, 'app', 'v', [randomBytes(300_000)]);
    const on = new RegExp(`GET .*${image.layers[0]}`);
    registry.faults = [
      { on, resetAfter: 100_000, times: 1 },
      { on, ignoreRange: true, times: 1 },
    ];
    await room.pull(`${registry.host}/app:v`);
    expect(room.images.resolve(image.id).id).toBe(image.id);
  });

  it('comes again when the registry asks for it', async () => {
    const image = putImage(registry, 'app', 'v', small);
    registry.faults = [
      { on: /GET .*manifests/, status: 429, headers: { 'Retry-After': '0' }, times: 1 },
      { on: new RegExp(`GET .*${image.layers[0]}`), status: 503, headers: { 'Retry-After': '0' }, times: 1 },
    ];
    await room.pull(`${registry.host}/app:v`);
    expect(room.images.resolve(image.id).id).toBe(image.id);
  });

  it('gets a new token when the old one ends between two pieces of a blob', async () => {
    registry.credentials = '';
    const image = putImage(registry, 'app', 'v', [randomBytes(300_000)]);
    const on = new RegExp(`GET .*${image.layers[0]}`);
    registry.faults = [{ on, resetAfter: 100_000, times: 1, onBreak: () => (registry.tokensGiven.length = 0) }];
    await room.pull(`${registry.host}/app:v`);
    expect(registry.seen(/GET \/token/)).toHaveLength(2);
    expect(room.images.resolve(image.id).id).toBe(image.id);
  });

  it('begins a blob again, once, when its bytes are wrong', async () => {
    const image = putImage(registry, 'app', 'v', small);
    registry.faults = [{ on: new RegExp(`GET .*${image.layers[0]}`), flip: true, times: 1 }];
    await room.pull(`${registry.host}/app:v`);
    expect(room.images.resolve(image.id).id).toBe(image.id);
  });

  const blob = (image: PutImage, index: number): RegExp => new RegExp(`GET .*${index < 0 ? image.id : image.layers[index]}`);
  it.each<[string, (image: PutImage) => Fault, string]>([
    ['resets each time', (image) => ({ on: blob(image, 1), resetAfter: 1 }), 'registry localhost'],
    ['sends other bytes', (image) => ({ on: blob(image, 1), flip: true }), 'filesystem layer verification failed for digest'],
    ['sends another configuration', (image) => ({ on: blob(image, -1), flip: true }), 'verification failed'],
    ['sends too much', (image) => ({ on: blob(image, 0), append: 1 }), 'longer than'],
    ['sends too little', (image) => ({ on: blob(image, 0), cut: 1 }), 'ended after'],
    ['answers 500', (image) => ({ on: blob(image, 1), status: 500 }), 'unexpected status code 500'],
    ['has lost a blob', (image) => ({ on: blob(image, 1), status: 404 }), 'unexpected status code 404'],
    ['sends another manifest than its header says', () => ({ on: /GET .*manifests/, flip: true }), 'manifest verification failed'],
    [
      'answers with HTML',
      () => ({ on: /GET .*manifests/, status: 200, body: '<html>', headers: { 'Content-Type': 'text/html' } }),
      'not valid JSON',
    ],
    [
      'sends a manifest of schema 1',
      () => ({
        on: /GET .*manifests/,
        status: 200,
        body: '{"schemaVersion":1}',
        headers: { 'Content-Type': mediaTypes.dockerSchema1Signed },
      }),
      'schema 1',
    ],
    [
      'redirects for ever',
      (image) => ({ on: blob(image, 0), status: 307, headers: { Location: '/v2/app/blobs/' + image.layers[0] } }),
      'redirects more than 5 times',
    ],
    ['redirects to a file', (image) => ({ on: blob(image, 0), status: 307, headers: { Location: 'file:///etc/shadow' } }), 'refused'],
  ])('leaves nothing when it %s', async (_, fault, message) => {
    const image = putImage(registry, 'app', 'v', small);
    registry.faults = [fault(image)];
    await expect(room.pull(`${registry.host}/app:v`)).rejects.toThrow(message);
    expect(await room.leftovers()).toEqual(nothingLeft);
    // And at once again, from the blobs that arrived.
    registry.faults = [];
    await room.pull(`${registry.host}/app:v`);
    expect(room.images.resolve(image.id).id).toBe(image.id);
  });

  it('keeps blobs for the next pull only of what may still come whole', async () => {
    const image = putImage(registry, 'app', 'v', small);
    const kept = async (fault: Omit<Fault, 'on'>): Promise<number> => {
      registry.faults = [{ on: blob(image, 1), ...fault }];
      await expect(room.pull(`${registry.host}/app:v`)).rejects.toThrow();
      return room.content.usage();
    };
    expect(await kept({ resetAfter: 1 })).toBeGreaterThan(0);
    expect(await kept({ flip: true })).toBe(0);
    expect(room.db.all('SELECT * FROM content_hold')).toEqual([]);
  });

  it('leaves nothing when the layer is another than the configuration says', async () => {
    const lying = putImage(registry, 'app', 'v', small);
    const config = JSON.parse(String(registry.blobs.get(lying.id))) as { rootfs: { diff_ids: string[] } };
    config.rootfs.diff_ids.reverse();
    const described = registry.putBlob(Buffer.from(JSON.stringify(config)));
    const layers = lying.layers.map((digest) => ({ mediaType: mediaTypes.dockerLayer, digest, size: registry.blobs.get(digest)?.length }));
    registry.putManifest(
      'app',
      'v',
      { schemaVersion: 2, config: { mediaType: mediaTypes.dockerConfig, ...described }, layers },
      mediaTypes.dockerManifest,
    );
    await expect(room.pull(`${registry.host}/app:v`)).rejects.toThrow('failed to register layer');
    expect(await room.leftovers()).toEqual(nothingLeft);
  });

  it('stops at once when the client goes away, and the next pull has what arrived', async () => {
    const image = putImage(registry, 'app', 'v', [Buffer.from('first'), randomBytes(200_000)]);
    registry.faults = [{ on: blob(image, 1), stallAfter: 1000 }];
    const gone = new AbortController();
    const pulling = room.pull(`${registry.host}/app:v`, { signal: gone.signal });
    setTimeout(() => gone.abort(), 300);
    await expect(pulling).rejects.toMatchObject({ kind: 'cancelled' });
    expect(await room.leftovers()).toEqual(nothingLeft);
    registry.faults = [];
    await room.content.collect();
    await room.pull(`${registry.host}/app:v`);
    expect(registry.seen(blob(image, 0))).toHaveLength(1);
  });

  it('says what clients look for when there is no such image', async () => {
    putImage(registry, 'app', 'v', small);
    await expect(room.pull(`${registry.host}/app:nope`)).rejects.toMatchObject({
      kind: 'not-found',
      message: `manifest for ${registry.host}/app:nope not found: manifest unknown: manifest unknown`,
    });
    registry.faults = [
      { on: /GET .*manifests/, status: 403, body: '{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}' },
    ];
    await expect(room.pull(`${registry.host}/app:v`)).rejects.toMatchObject({
      kind: 'not-found',
      message: `pull access denied for ${registry.host}/app, repository does not exist or may require 'docker login': denied: requested access to the resource is denied`,
    });
    await expect(room.pull('scratch')).rejects.toThrow("'scratch' is a reserved name");
    await expect(room.pull('localhost:1/app:v')).rejects.toMatchObject({ kind: 'unavailable' });
  });
});

describe('a damaged store', () => {
  it('is mended by the next pull', async () => {
    const image = putImage(registry, 'app', 'v', small);
    const name = `${registry.host}/app:v`;
    await room.pull(name);
    for (const digest of [image.layers[0], image.id]) await truncate(await room.content.path(digest as Digest), 3);
    await room.restart();
    expect(room.images.find(name)).toBeUndefined();
    await room.pull(name);
    expect(room.images.resolve(name).id).toBe(image.id);
    expect(await room.content.size(image.layers[0] as Digest)).toBeGreaterThan(3);
    await room.restart();
    expect(room.images.resolve(name).id).toBe(image.id);
    expect(await room.leftovers()).toMatchObject({ images: 1, intents: 0 });
  });
});

describe('credentials', () => {
  const auth = { username: 'me', password: 's3cret', identityToken: '', registryToken: '', serverAddress: '' };

  it('buy a token for what is asked, and only from the token server', async () => {
    putImage(registry, 'private', 'v', small);
    registry.credentials = 'me:s3cret';
    await room.pull(`${registry.host}/private:v`, { auth });
    expect(registry.seen(/GET \/token/).map((request) => request.path)).toEqual([
      '/token?service=fake%2C+with+a+comma&scope=repository%3Aprivate%3Apull&account=me',
    ]);
    for (const request of registry.seen(/\/v2\//)) expect(request.headers.authorization ?? '').not.toContain('Basic');
  });

  it('are refused with words that name the repository', async () => {
    putImage(registry, 'private', 'v', small);
    registry.credentials = 'me:s3cret';
    for (const wrong of [undefined, { ...auth, password: 'no' }])
      await expect(room.pull(`${registry.host}/private:v`, wrong ? { auth: wrong } : {})).rejects.toMatchObject({
        kind: 'not-found',
        message: expect.stringContaining(
          `pull access denied for ${registry.host}/private, repository does not exist or may require 'docker login'`,
        ) as string,
      });
    expect(await room.leftovers()).toEqual(nothingLeft);
  });

  it('stay with their host when a blob is elsewhere', async () => {
    const elsewhere = await new FakeRegistry().start();
    try {
      const image = putImage(registry, 'private', 'v', small);
      const layer = image.layers[0] ?? '';
      elsewhere.putBlob(registry.blobs.get(layer) ?? Buffer.alloc(0));
      registry.credentials = 'me:s3cret';
      registry.faults = [
        { on: new RegExp(`GET .*${layer}`), status: 307, headers: { Location: `http://${elsewhere.host}/v2/x/blobs/${layer}` } },
      ];
      await room.pull(`${registry.host}/private:v`, { auth });
      expect(elsewhere.requests).toHaveLength(1);
      expect(elsewhere.requests[0]?.headers.authorization).toBeUndefined();
      expect(elsewhere.requests[0]?.headers.cookie).toBeUndefined();
    } finally {
      await elsewhere.stop();
    }
  });
});
