import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { mediaTypes } from '@gantry/core/content/media-types.js';
import { sha256 } from '@gantry/core/contracts/ids.js';
import { ImageRoom, lineOf, nothingLeft, putImage } from '@gantry/test/fakes/image-room.js';
import { FakeRegistry } from '@gantry/test/fakes/registry.js';
import { readTar } from './tar-reader.js';
import { tarEnd, tarHeader, tarPadding } from './tar-writer.js';

let registry: FakeRegistry;
let room: ImageRoom;
let folder: string;

beforeEach(async () => {
  registry = await new FakeRegistry().start();
  room = await ImageRoom.open();
  folder = await mkdtemp(join(tmpdir(), 'gantry-archive-'));
});
afterEach(async () => {
  await room.close();
  await registry.stop();
  await rm(folder, { recursive: true });
});

async function bytesOf(stream: Readable): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(Buffer.from(chunk as Uint8Array));
  return Buffer.concat(chunks);
}

function tarOf(files: Record<string, Buffer | string>): Buffer {
  const parts = Object.entries(files).flatMap(([path, content]) => {
    const bytes = Buffer.from(content as string);
    return [tarHeader(path, bytes.length), bytes, tarPadding(bytes.length)];
  });
  return Buffer.concat([...parts, tarEnd()]);
}

async function load(archive: Buffer, quiet = true): Promise<string[]> {
  const lines: string[] = [];
  await room.images.load(Readable.from([archive], { objectMode: false }), { quiet }, (progress) => lines.push(lineOf(progress)));
  return lines;
}

const layer = Buffer.from('a layer');
const configFor = (...layers: Buffer[]): Buffer =>
  Buffer.from(
    JSON.stringify({
      architecture: 'amd64',
      os: 'linux',
      config: {},
      rootfs: { type: 'layers', diff_ids: layers.map((one) => sha256(one)) },
    }),
  );

/** An archive as very old versions of Docker wrote it. */
function oldArchive(overrides: Record<string, Buffer | string> = {}): Buffer {
  const config = configFor(layer);
  return tarOf({
    'abc/VERSION': '1.0',
    'abc/json': '{}',
    'abc/layer.tar': layer,
    'config.json': config,
    'manifest.json': JSON.stringify([{ Config: 'config.json', RepoTags: ['old:1'], Layers: ['abc/layer.tar'] }]),
    repositories: '{"old":{"1":"abc"}}',
    ...overrides,
  });
}

describe('save and load', () => {
  it('give back the same image, to the last byte, under all its names', async () => {
    const image = putImage(registry, 'app', 'v', [Buffer.from('one'), Buffer.from('two')]);
    await room.pull(`${registry.host}/app:v`);
    await room.images.tag(image.id, 'mine', '');
    const archive = await bytesOf(await room.images.save(['mine', `${registry.host}/app:v`], undefined));
    expect(await bytesOf(await room.images.save(['mine', `${registry.host}/app:v`], undefined))).toEqual(archive);
    await room.images.remove(image.id, { force: true, noPrune: false });
    expect(await room.content.usage()).toBe(0);
    expect(await load(archive)).toEqual(['Loaded image: mine:latest\n', `Loaded image: ${registry.host}/app:v\n`]);
    expect(room.images.resolve('mine').id).toBe(image.id);
    // The manifest came along: a push gives the registry what it had.
    await room.images
      .push({ name: 'mine', tag: 'v', platform: undefined, auth: undefined }, () => undefined, new AbortController().signal)
      .catch(() => undefined);
    await room.images.tag('mine', `${registry.host}/copy`, 'v');
    await room.images.push(
      { name: `${registry.host}/copy`, tag: 'v', platform: undefined, auth: undefined },
      () => undefined,
      new AbortController().signal,
    );
    expect(registry.manifests.has(`copy@${image.digest}`)).toBe(true);
    expect(await room.leftovers()).toMatchObject({ temporary: [], intents: 0, images: 1 });
  });

  it('of an id gives an image without a name', async () => {
    const image = putImage(registry, 'app', 'v', [Buffer.from('one')]);
    await room.pull(`${registry.host}/app:v`);
    const archive = await bytesOf(await room.images.save([image.id], undefined));
    await room.images.remove(image.id, { force: true, noPrune: false });
    expect(await load(archive)).toEqual([`Loaded image ID: ${image.id}\n`]);
    expect(room.images.resolve(image.id).repoTags).toEqual([]);
  });

  it('keep nothing of a save whose reader goes away', async () => {
    putImage(registry, 'app', 'v', [Buffer.from('one')]);
    await room.pull(`${registry.host}/app:v`);
    const stream = await room.images.save([`${registry.host}/app`], undefined);
    stream.destroy();
    await expect.poll(() => room.leftovers()).toMatchObject({ intents: 0 });
    await expect(room.images.save(['nothing'], undefined)).rejects.toThrow('No such image: nothing:latest');
  });

  it('write what tar can read', async () => {
    putImage(registry, 'app', 'v', [Buffer.from('one')]);
    await room.pull(`${registry.host}/app:v`);
    const path = join(folder, 'image.tar');
    await writeFile(path, await bytesOf(await room.images.save([`${registry.host}/app:v`], undefined)));
    const listed = execFileSync('tar', ['-tf', path], { encoding: 'utf8' }).trim().split('\n');
    expect(listed).toEqual(
      expect.arrayContaining(['blobs/', 'blobs/sha256/', 'index.json', 'manifest.json', 'oci-layout', 'repositories']),
    );
  });
});

describe('loading', () => {
  it.each<[string, (archive: Buffer) => Buffer]>([
    ['plain', (archive) => archive],
    ['gzip', (archive) => gzipSync(archive)],
    ['zstd', (archive) => zstdCompressSync(archive)],
  ])('reads the oldest form, %s', async (_, pack) => {
    expect(await load(pack(oldArchive()))).toEqual(['Loaded image: old:1\n']);
    expect(room.images.resolve('old:1').diffIds).toEqual([sha256(layer)]);
    expect(await room.leftovers()).toMatchObject({ temporary: [], intents: 0, images: 1 });
  });

  it('says that a name moves from one image to another', async () => {
    await load(oldArchive());
    const other = configFor(Buffer.from('other'));
    const old = room.images.resolve('old:1').id;
    const lines = await load(oldArchive({ 'abc/layer.tar': 'other', 'config.json': other }));
    expect(lines).toEqual([
      `The image old:1 already exists, renaming the old one with ID ${old} to empty string\n`,
      'Loaded image: old:1\n',
    ]);
  });

  it('reads an OCI layout with compressed layers and names in annotations', async () => {
    const packed = gzipSync(layer);
    const config = configFor(layer);
    const describedAs = (bytes: Buffer, mediaType: string): object => ({ mediaType, digest: sha256(bytes), size: bytes.length });
    const manifest = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        config: describedAs(config, mediaTypes.ociConfig),
        layers: [describedAs(packed, mediaTypes.ociLayerGzip)],
      }),
    );
    const index = {
      schemaVersion: 2,
      manifests: [
        { ...describedAs(manifest, mediaTypes.ociManifest), annotations: { 'org.opencontainers.image.ref.name': 'host.example/a:b' } },
      ],
    };
    const blob = (bytes: Buffer): string => `blobs/sha256/${sha256(bytes).slice(7)}`;
    const archive = tarOf({
      'index.json': JSON.stringify(index),
      'oci-layout': '{}',
      [blob(packed)]: packed,
      [blob(config)]: config,
      [blob(manifest)]: manifest,
    });
    expect(await load(archive)).toEqual(['Loaded image: host.example/a:b\n']);
  });

  it('follows links inside the archive and nowhere else', async () => {
    await mkdir(join(folder, 'abc'));
    await mkdir(join(folder, 'def'));
    await writeFile(join(folder, 'abc/layer.tar'), layer);
    await symlink('../abc/layer.tar', join(folder, 'def/layer.tar'));
    await writeFile(join(folder, 'config.json'), configFor(layer, layer));
    await writeFile(
      join(folder, 'manifest.json'),
      JSON.stringify([{ Config: 'config.json', RepoTags: null, Layers: ['abc/layer.tar', 'def/layer.tar'] }]),
    );
    const tar = (): Buffer => execFileSync('tar', ['-C', folder, '-c', '.']);
    expect((await load(tar()))[0]).toMatch(/^Loaded image ID: sha256:/);
    await room.images.prune(new Map([['dangling', ['false']]]));
    await rm(join(folder, 'def/layer.tar'));
    await symlink('/etc/passwd', join(folder, 'def/layer.tar'));
    await expect(load(tar())).rejects.toThrow('does not hold it as a file');
    expect(await room.leftovers()).toEqual(nothingLeft);
  });

  it.each<[string, () => Buffer, string]>([
    ['nothing', () => Buffer.alloc(0), 'the archive is empty'],
    ['something else', () => Buffer.from('x'.repeat(2000)), 'no tar archive'],
    ['no image', () => tarOf({ file: 'x' }), 'holds no image'],
    ['an entry that is cut', () => oldArchive().subarray(0, 2700), 'ends in the middle'],
    ['gzip that is cut', () => gzipSync(oldArchive()).subarray(0, 200), 'cannot be decompressed'],
    ['a manifest that is no list', () => oldArchive({ 'manifest.json': '{}' }), 'not a list'],
    ['a manifest beyond the limit', () => oldArchive({ 'manifest.json': ' '.repeat(5_000_000) }), 'more than 4194304'],
    ['a layer that is missing', () => oldArchive({ 'manifest.json': '[{"Config":"config.json","Layers":["nope"]}]' }), 'does not hold it'],
    [
      'a name that is none',
      () => oldArchive({ 'manifest.json': '[{"Config":"config.json","RepoTags":["A:1"],"Layers":["abc/layer.tar"]}]' }),
      'must be lowercase',
    ],
    ['a layer other than the configuration says', () => oldArchive({ 'abc/layer.tar': 'evil' }), 'unpacks to'],
    [
      'more layers than the configuration says',
      () => oldArchive({ 'manifest.json': '[{"Config":"config.json","Layers":["abc/layer.tar","abc/layer.tar"]}]' }),
      '2 layers in its manifest and 1',
    ],
    ['a blob under another digest', () => oldArchive({ [`blobs/sha256/${'0'.repeat(64)}`]: 'x' }), 'verification failed'],
    ['a blob with a path for a name', () => oldArchive({ 'blobs/sha256/abc': 'x' }), 'no digest'],
    ['a configuration that is none', () => oldArchive({ 'config.json': '[]' }), 'not an object'],
  ])('refuses an archive with %s, and leaves nothing', async (_, archive, message) => {
    await expect(load(archive())).rejects.toThrow(message);
    expect(await room.leftovers()).toEqual(nothingLeft);
    expect(await room.content.usage()).toBe(0);
  });
});

describe('importing', () => {
  it('makes an image of a root file system, as it came', async () => {
    const archive = gzipSync(tarOf({ hello: 'world' }));
    const id = await room.images.import(
      Readable.from([archive], { objectMode: false }),
      { repository: 'fresh', tag: '', message: 'why', changes: ['CMD ["/hello"]', 'ENV A=b'], platform: undefined },
      () => undefined,
    );
    const image = room.images.resolve('fresh');
    expect(image).toMatchObject({
      id,
      comment: 'why',
      config: { cmd: ['/hello'], env: ['A=b'] },
      diffIds: [sha256(tarOf({ hello: 'world' }))],
    });
    expect(await readFile(await room.content.path(sha256(archive)))).toEqual(archive);
    expect((await room.pastEvents()).map((event) => event.action)).toEqual(['import']);
  });

  it('leaves nothing of a change that cannot be made, nor of an empty archive', async () => {
    const request = { repository: '', tag: '', message: '', platform: undefined };
    await expect(room.images.import(Readable.from([]), { ...request, changes: ['RUN x'] }, () => undefined)).rejects.toThrow(
      'not a valid change command',
    );
    await expect(room.images.import(Readable.from([]), { ...request, changes: [] }, () => undefined)).rejects.toThrow('empty');
    expect(await room.leftovers()).toEqual(nothingLeft);
  });
});

describe('the tar reader', () => {
  const entries = async (archive: Buffer, chunk = archive.length): Promise<{ path: string; content: string }[]> => {
    const pieces = Array.from({ length: Math.ceil(archive.length / chunk) }, (_, at) => archive.subarray(at * chunk, (at + 1) * chunk));
    const found: { path: string; content: string }[] = [];
    for await (const entry of readTar(Readable.from(pieces) as AsyncIterable<Buffer>, 100)) {
      const parts: Buffer[] = [];
      for await (const part of entry.content) parts.push(part);
      found.push({ path: entry.path, content: Buffer.concat(parts).toString() });
    }
    return found;
  };

  it.each(['gnu', 'pax', 'ustar'])('reads the %s format, long names included', async (format) => {
    const long = format === 'ustar' ? `${'d'.repeat(100)}/${'f'.repeat(90)}` : `${'d'.repeat(120)}/${'f'.repeat(120)}`;
    await mkdir(dirname(join(folder, long)));
    await writeFile(join(folder, long), 'long');
    await writeFile(join(folder, 'short'), 'x'.repeat(1000));
    const archive = execFileSync('tar', ['-C', folder, `--format=${format}`, '-c', 'short', long]);
    const expected = [
      { path: 'short', content: 'x'.repeat(1000) },
      { path: long, content: 'long' },
    ];
    for (const chunk of [archive.length, 512, 77]) expect(await entries(archive, chunk)).toEqual(expected);
  });

  it('skips what nobody reads', async () => {
    const archive = tarOf({ a: 'x'.repeat(2000), b: 'y' });
    const paths: string[] = [];
    for await (const entry of readTar(Readable.from([archive]) as AsyncIterable<Buffer>, 100)) paths.push(entry.path);
    expect(paths).toEqual(['a', 'b']);
  });

  it('never breaks in any other way than by an invalid parameter, whatever bits are changed', async () => {
    const archive = oldArchive();
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(fc.nat(archive.length - 1), fc.nat(255)), { maxLength: 5 }), async (changes) => {
        const bytes = Buffer.from(archive);
        for (const [at, value] of changes) bytes[at] = value;
        await entries(bytes).catch((error: unknown) => expect((error as { kind?: string }).kind).toBe('invalid-parameter'));
      }),
      { numRuns: 300 },
    );
  });
});
