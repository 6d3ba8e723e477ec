import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { limits } from '@gantry/core/content/limits.js';
import { mediaTypes } from '@gantry/core/content/media-types.js';
import { parseManifest, parseRootFs } from '@gantry/core/content/manifest.js';
import { isKind } from '@gantry/core/contracts/errors.js';
import { hostPlatform } from '@gantry/core/content/platform.js';
import { parseImageConfig } from '@gantry/core/image/image-config.js';
import { archive } from '../conformance/archive.js';
import { ImageRoom, nothingLeft, putImage } from '../fakes/image-room.js';
import { FakeRegistry } from '../fakes/registry.js';

let registry: FakeRegistry;
let room: ImageRoom;
const layers = [Buffer.from('one'), Buffer.from('two')];
const digestOf = (bytes: Uint8Array | string): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
const { dockerManifest, dockerConfig, dockerLayer, dockerIndex, ociManifest, ociIndex } = mediaTypes;

beforeEach(async () => {
  registry = await new FakeRegistry().start();
  room = await ImageRoom.open({ maxDownloadAttempts: 1 });
});
afterEach(async () => {
  await room.close();
  await registry.stop();
});

/** An image behind an index, so that each kind of document is fetched. */
function putIndexed(tag = 'v'): { index: string; manifest: string; config: string; layer: string } {
  const image = putImage(registry, 'app', undefined, layers);
  const { os, architecture } = hostPlatform();
  const entry = { mediaType: dockerManifest, digest: image.digest, size: image.size, platform: { os, architecture } };
  const index = registry.putManifest('app', tag, { schemaVersion: 2, mediaType: dockerIndex, manifests: [entry] }, dockerIndex);
  return { index: index.digest, manifest: image.digest, config: image.id, layer: image.layers[1] ?? '' };
}

/** Serves bytes as they are, under a tag. */
function putRaw(bytes: Buffer | string, type: string = dockerManifest, tag = 'v'): void {
  registry.manifests.set(`app:${tag}`, { bytes: Buffer.from(bytes), type });
}

async function refusal(reference = 'app:v'): Promise<Error & { kind?: string }> {
  const failed = await room.pull(`${registry.host}/${reference}`).then(
    () => undefined,
    (error: unknown) => error as Error,
  );
  expect(failed, 'it was pulled').toBeInstanceOf(Error);
  expect(await room.leftovers()).toEqual(nothingLeft);
  expect(await room.images.list({ all: true, filters: new Map() })).toEqual([]);
  return failed as Error;
}

describe('bytes that are not what their descriptor says (E1)', () => {
  const DOCUMENTS = ['index', 'manifest', 'config', 'layer'] as const;
  const CHANGES = { 'a bit flipped': { flip: true }, 'a byte more': { append: 1 }, 'a byte less': { cut: 1 } } as const;
  for (const document of DOCUMENTS)
    for (const [change, fault] of Object.entries(CHANGES))
      it(`make no image: ${document} with ${change}`, async () => {
        const image = putIndexed();
        const path = document === 'index' ? /GET .*manifests\/v$/ : new RegExp(`GET .*${image[document]}`);
        registry.faults = [{ on: path, ...fault }];
        await refusal();
        // Nothing of it was kept that would be taken for the real thing.
        registry.faults = [];
        await room.pull(`${registry.host}/app:v`);
        expect(room.images.resolve(image.config).id).toBe(image.config);
      });

  it('make no image: layers that unpack to something else than the configuration says', async () => {
    const lying = putImage(registry, 'app', undefined, layers);
    const config = JSON.parse(String(registry.blobs.get(lying.id))) as { rootfs: { diff_ids: string[] } };
    config.rootfs.diff_ids[1] = digestOf('something else');
    const described = registry.putBlob(Buffer.from(JSON.stringify(config)));
    putRaw(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: dockerManifest,
        config: { mediaType: dockerConfig, ...described },
        layers: lying.layers.map((digest) => ({ mediaType: dockerLayer, digest, size: registry.blobs.get(digest)?.length })),
      }),
    );
    expect((await refusal()).message).toContain('failed to register layer');
  });
});

describe('a document that could be two things (E2, CVE-2021-41190)', () => {
  const TYPES = [ociManifest, ociIndex, ''];

  it('is taken for one only when body, Content-Type and descriptor agree', async () => {
    const { os, architecture } = hostPlatform();
    const image = putImage(registry, 'app', undefined, layers);
    const plain = JSON.parse(String(registry.manifests.get(`app@${image.digest}`)?.bytes)) as Record<string, unknown>;
    for (const own of TYPES)
      for (const header of TYPES)
        for (const described of [ociManifest, ociIndex]) {
          const { mediaType: _, ...rest } = plain;
          const bytes = Buffer.from(JSON.stringify({ ...rest, ...(own === '' ? {} : { mediaType: own }) }));
          registry.manifests.set(`app@${digestOf(bytes)}`, { bytes, type: header === '' ? 'application/json' : header });
          const entry = { mediaType: described, digest: digestOf(bytes), size: bytes.length, platform: { os, architecture } };
          putRaw(JSON.stringify({ schemaVersion: 2, mediaType: ociIndex, manifests: [entry] }), ociIndex);
          const agreed = [own, header, described].every((type) => type === '' || type === ociManifest);
          const label = JSON.stringify({ own, header, described });
          const pulled = await room.pull(`${registry.host}/app:v`).then(
            () => true,
            (error: unknown) => {
              expect(isKind(error, 'invalid-parameter'), `${label}: ${String(error)}`).toBe(true);
              return false;
            },
          );
          expect(pulled, label).toBe(agreed);
          if (pulled) await room.images.remove(`${registry.host}/app:v`, { force: true, noPrune: false });
        }
  });

  it('is refused with layers and manifests both, whatever it says that it is', () => {
    for (const own of TYPES)
      for (const header of TYPES) {
        const both = { schemaVersion: 2, ...(own === '' ? {} : { mediaType: own }), config: {}, layers: [], manifests: [] };
        expect(() => parseManifest(Buffer.from(JSON.stringify(both)), header)).toThrow(
          expect.objectContaining({ kind: 'invalid-parameter' }),
        );
      }
  });
});

describe('a digest that is a path, or none (E3, CVE-2024-3727)', () => {
  const hex = 'a'.repeat(64);
  const BAD = [
    'sha256:../../x',
    `sha256:${'../'.repeat(20)}etc/passwd`,
    `sha256:${hex.slice(0, 60)}/../`,
    'md5:d41d8cd98f00b204e9800998ecf8427e',
    `SHA256:${hex}`,
    `sha256:${hex.toUpperCase()}`,
    `sha256:${hex.slice(1)}`,
    `sha256:${hex}a`,
    `sha512:${hex}`,
    `sha256:${hex}\n`,
    `sha256:${hex}\0`,
    `sha256:${hex} `,
    hex,
    'sha256:',
    '',
  ];
  const good = digestOf('x');
  const config = { mediaType: dockerConfig, digest: good, size: 1 };
  const layer = { mediaType: dockerLayer, digest: good, size: 1 };
  const FIELDS: Record<string, (digest: string) => void> = {
    'the configuration of a manifest': (digest) =>
      void parseManifest(json({ schemaVersion: 2, config: { ...config, digest }, layers: [] }), dockerManifest),
    'a layer of a manifest': (digest) =>
      void parseManifest(json({ schemaVersion: 2, config, layers: [layer, { ...layer, digest }] }), dockerManifest),
    'an entry of an index': (digest) =>
      void parseManifest(json({ schemaVersion: 2, manifests: [{ mediaType: ociManifest, digest, size: 1 }] }), ociIndex),
    'a layer of a configuration': (digest) => void parseRootFs(json({ rootfs: { type: 'layers', diff_ids: [digest] } }), 1),
    'a layer of an image': (digest) => void parseImageConfig(json({ os: 'linux', rootfs: { type: 'layers', diff_ids: [digest] } })),
  };
  const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));

  for (const [field, parse] of Object.entries(FIELDS))
    it(`is refused as ${field}`, () => {
      expect(() => parse(good)).not.toThrow();
      for (const digest of BAD)
        expect(() => parse(digest), JSON.stringify(digest)).toThrow(expect.objectContaining({ kind: 'invalid-parameter' }));
    });

  it('is refused in the name of an image to pull', async () => {
    putImage(registry, 'app', 'latest', layers);
    for (const digest of BAD.filter((one) => one !== '')) {
      await expect(room.pull(`${registry.host}/app@${digest}`), JSON.stringify(digest)).rejects.toMatchObject({
        kind: 'invalid-parameter',
      });
    }
    expect(registry.requests.length).toBe(0);
  });

  it('leads nowhere in an archive to load', async () => {
    for (const digest of BAD) {
      const entry = { mediaType: ociManifest, digest, size: 1 };
      const bytes = archive([
        { path: 'oci-layout', content: '{"imageLayoutVersion":"1.0.0"}' },
        { path: 'index.json', content: JSON.stringify({ schemaVersion: 2, mediaType: ociIndex, manifests: [entry] }) },
      ]);
      const loaded = room.images.load(Readable.from([bytes], { objectMode: false }), { quiet: true }, () => undefined);
      await expect(loaded, JSON.stringify(digest)).rejects.toMatchObject({ kind: 'invalid-parameter' });
    }
    expect(await room.leftovers()).toEqual(nothingLeft);
  });
});

describe('a document that is a bomb (E4)', () => {
  const { os, architecture } = hostPlatform();
  const manifestOf = (count: number): string => {
    const config = registry.putBlob(
      Buffer.from(
        JSON.stringify({ os, architecture, rootfs: { type: 'layers', diff_ids: Array.from({ length: count }, () => digestOf('x')) } }),
      ),
    );
    const blob = { mediaType: dockerLayer, ...registry.putBlob(gzipSync('x')) };
    return JSON.stringify({
      schemaVersion: 2,
      mediaType: dockerManifest,
      config: { mediaType: dockerConfig, ...config },
      layers: Array.from({ length: count }, () => blob),
    });
  };

  it.each<[string, () => string | Buffer, string]>([
    ['one layer more than can be mounted', () => manifestOf(limits.layers + 1), 'more than the 127'],
    ['10,000 layers', () => manifestOf(10_000), 'more than the 127'],
    ['more bytes than a manifest may have', () => Buffer.alloc(limits.manifestBytes + 1, 0x20), 'the manifest'],
    ['lists in lists, 100,000 deep', () => '['.repeat(100_000), 'nested deeper'],
    ['objects in objects, 100,000 deep', () => '{"a":'.repeat(100_000), 'nested deeper'],
    ['a million members', () => `{${Array.from({ length: 1_000_000 }, (_, at) => `"${at.toString(36)}":1`).join()}`, ''],
    ['half a million values and more', () => `[${'1,'.repeat(600_000)}1]`, 'more than 500000 values'],
    ['one key twice', () => manifestOf(1).replace('{', '{"schemaVersion":2,'), 'appears twice'],
    ['a number that a double does not hold', () => manifestOf(1).replace(/"size":\d+/, '"size":9007199254740993'), 'out of range'],
    ['a number out of all ranges', () => manifestOf(1).replace(/"size":\d+/, '"size":1e999'), 'out of range'],
    ['a size below zero', () => manifestOf(1).replace(/"size":\d+/, '"size":-1'), 'size'],
  ])('is refused: %s', async (_, document, says) => {
    putRaw(document());
    expect((await refusal()).message).toContain(says);
  });

  it('is taken with as many layers as can be mounted', async () => {
    putRaw(manifestOf(limits.layers));
    await room.pull(`${registry.host}/app:v`);
    expect(room.images.resolve(`${registry.host}/app:v`).diffIds.length).toBe(limits.layers);
  });

  it('gives no object a member that it did not have', async () => {
    const members = '"__proto__":{"x":1,"layers":[]},"constructor":{"prototype":{"x":1}},';
    putRaw(manifestOf(1).replace('{', `{${members}`));
    await room.pull(`${registry.host}/app:v`);
    expect(({} as Record<string, unknown>)['x']).toBeUndefined();
  });

  it('is not followed from index to index', async () => {
    let entry: { mediaType: string; digest: string; size: number; platform: object } = {
      mediaType: dockerManifest,
      ...putImage(registry, 'app', undefined, layers),
      platform: { os, architecture },
    };
    for (let depth = 0; depth < 100; depth++)
      entry = {
        ...entry,
        mediaType: dockerIndex,
        ...registry.putManifest('app', 'v', { schemaVersion: 2, mediaType: dockerIndex, manifests: [entry] }, dockerIndex),
      };
    expect((await refusal()).message).toContain('leads to indexes only');
    expect(registry.requests.length).toBeLessThan(10);
  });

  it('is not followed round in a ring', async () => {
    // No index can hold its own digest; a registry that says that one does is caught lying.
    const ring = `sha256:${'1'.repeat(64)}`;
    const entry = { mediaType: dockerIndex, digest: ring, size: 10, platform: { os, architecture } };
    const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: dockerIndex, manifests: [entry] }));
    registry.manifests.set(`app@${ring}`, { bytes, type: dockerIndex });
    putRaw(bytes, dockerIndex);
    expect((await refusal()).message).toContain('verification failed');
  });
});

describe('a document with members of the wrong type (E5, CVE-2021-21285)', () => {
  const VALUES: readonly unknown[] = [null, true, -1, 1e300, '', 'x', [], [null], {}, { x: null }];

  /** The document with each of its members in turn, at any depth, given each other type. */
  function* swapped(value: unknown, replace: (inner: unknown) => unknown): Generator<unknown> {
    for (const other of VALUES) yield replace(other);
    if (typeof value !== 'object' || value === null) return;
    for (const [key, inner] of Object.entries(value))
      yield* swapped(inner, (other) => replace(Array.isArray(value) ? value.with(Number(key), other) : { ...value, [key]: other }));
  }

  it.each<[string, (bytes: Buffer) => unknown, () => object]>([
    [
      'a manifest',
      (bytes) => parseManifest(bytes, ''),
      () => JSON.parse(String(registry.manifests.get(`app@${putIndexed().manifest}`)?.bytes)) as object,
    ],
    [
      'an index',
      (bytes) => parseManifest(bytes, ''),
      () => JSON.parse(String(registry.manifests.get(`app@${putIndexed().index}`)?.bytes)) as object,
    ],
    ['a configuration', parseImageConfig, () => wholeConfig],
    ['the root file system of a configuration', (bytes) => parseRootFs(bytes, 1), () => wholeConfig],
  ])('is read or refused, and nothing else: %s', (_, parse, document) => {
    let refused = 0;
    for (const one of swapped(document(), (whole) => whole)) {
      try {
        parse(Buffer.from(JSON.stringify(one)));
      } catch (error) {
        expect(isKind(error, 'invalid-parameter'), `${JSON.stringify(one)}: ${String(error)}`).toBe(true);
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(10);
  });

  const wholeConfig = {
    created: '2024-01-02T03:04:05Z',
    author: 'a',
    architecture: 'amd64',
    variant: 'v2',
    os: 'linux',
    config: {
      User: '1:1',
      ExposedPorts: { '80/tcp': {} },
      Env: ['A=b'],
      Entrypoint: ['/bin/sh'],
      Cmd: ['-c'],
      Volumes: { '/data': {} },
      WorkingDir: '/',
      Labels: { a: 'b' },
      StopSignal: 'TERM',
      Healthcheck: { Test: ['NONE'], Interval: 1, Timeout: 1, StartPeriod: 1, StartInterval: 1, Retries: 1 },
      Shell: ['/bin/sh'],
      OnBuild: ['RUN x'],
    },
    rootfs: { type: 'layers', diff_ids: [digestOf('x')] },
    history: [{ created: '2024-01-02T03:04:05Z', created_by: 'x', author: 'a', comment: 'c', empty_layer: false }],
  };
});

describe('a name with a tag and a digest (E6)', () => {
  it('stands for the digest, wherever the tag has moved', async () => {
    const old = putImage(registry, 'app', 'v', layers);
    const moved = putImage(registry, 'app', 'v', [Buffer.from('three')]);
    await room.pull(`${registry.host}/app:v@${old.digest}`);
    expect(room.images.resolve(`${registry.host}/app@${old.digest}`).id).toBe(old.id);
    expect(() => room.images.resolve(moved.id)).toThrow();
  });

  it('is refused when the registry gives other content for the digest', async () => {
    const old = putImage(registry, 'app', undefined, layers);
    const other = putImage(registry, 'app', 'v', [Buffer.from('three')]);
    registry.manifests.set(`app@${old.digest}`, registry.manifests.get(`app@${other.digest}`) ?? { bytes: Buffer.alloc(0), type: '' });
    expect((await refusal(`app:v@${old.digest}`)).message).toContain('verification failed');
  });
});

describe('a blob that another repository has (E7)', () => {
  const push = (name: string): Promise<unknown> =>
    room.images.push({ name, tag: 'v', platform: undefined, auth: undefined }, () => undefined, new AbortController().signal);

  it.each<[string, number, Record<string, string>, string]>([
    ['a 200, which means nothing', 200, {}, 'unexpected status code 200'],
    ['a 201 for another digest', 201, { 'Docker-Content-Digest': digestOf('another') }, `took blob ${digestOf('another')}`],
    ['a 202 that leads to another host', 202, { Location: 'http://127.0.0.1:1/v2/copy/blobs/uploads/x' }, 'registry 127.0.0.1:1'],
  ])(
    'is not taken for pushed on %s',
    async (_, status, headers, says) => {
      const image = putImage(registry, 'app', 'v', [Buffer.from('one')]);
      await room.pull(`${registry.host}/app:v`);
      await room.images.tag(image.id, `${registry.host}/copy`, 'v');
      registry.faults = [
        { on: /HEAD .*copy/, status: 404 },
        { on: /POST .*copy\/blobs\/uploads/, status, headers },
      ];
      await expect(push(`${registry.host}/copy`)).rejects.toThrow(says);
      expect(registry.manifests.has('copy:v')).toBe(false);
    },
    120_000,
  );

  it('is asked of the registry again when it is here from a repository that showed it', async () => {
    putImage(registry, 'secret', 'v', layers);
    await room.pull(`${registry.host}/secret:v`);
    const before = registry.requests.length;
    // The manifest is what proves that the other repository has it; without one, its blobs are nobody's there.
    await expect(room.pull(`${registry.host}/other:v`)).rejects.toMatchObject({ kind: 'not-found' });
    expect(registry.requests.length).toBeGreaterThan(before);
  });
});
