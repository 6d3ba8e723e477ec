import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { sha256 } from '../contracts/ids.js';
import { parseJson } from './json.js';
import { parseManifest, parseRootFs, platformsOf, selectPlatform, type ImageIndex } from './manifest.js';
import { mediaTypes } from './media-types.js';
import { formatPlatform, parsePlatform } from './platform.js';

const bytes = (value: unknown): Buffer => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value));
const blob = (mediaType: string): Record<string, unknown> => ({ mediaType, digest: sha256(mediaType), size: 3 });
const manifest = (extra: Record<string, unknown> = {}): Record<string, unknown> => ({
  schemaVersion: 2,
  mediaType: mediaTypes.dockerManifest,
  config: blob(mediaTypes.dockerConfig),
  layers: [blob(mediaTypes.dockerLayer)],
  ...extra,
});
const index = (...platforms: string[]): ImageIndex => {
  const manifests = platforms.map((text) => {
    const [os, architecture, variant] = text.split('/');
    return { ...blob(mediaTypes.ociManifest), digest: sha256(text), platform: { os, architecture, ...(variant ? { variant } : {}) } };
  });
  return parseManifest(bytes({ schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests }), mediaTypes.ociIndex) as ImageIndex;
};

describe('a manifest', () => {
  it('is read in each of its forms', () => {
    expect(parseManifest(bytes(manifest()), mediaTypes.dockerManifest)).toMatchObject({ kind: 'image', layers: [{ size: 3 }] });
    const oci = manifest({ mediaType: undefined, config: blob(mediaTypes.ociConfig), layers: [blob(mediaTypes.ociLayerZstd)] });
    expect(parseManifest(bytes(oci), mediaTypes.ociManifest)).toMatchObject({ kind: 'image', mediaType: mediaTypes.ociManifest });
    expect(parseManifest(bytes(oci), '')).toMatchObject({ kind: 'image', mediaType: mediaTypes.ociManifest });
    expect(index('linux/amd64').entries).toHaveLength(1);
  });

  it.each<[string, unknown, string, string]>([
    ['both readings', { ...manifest(), manifests: [] }, mediaTypes.dockerManifest, 'ambiguous'],
    ['another type than was said', manifest(), mediaTypes.ociManifest, 'but was given as'],
    ['an index that is called a manifest', { schemaVersion: 2, manifests: [] }, mediaTypes.ociManifest, 'unsupported manifest type'],
    ['a manifest that is called an index', manifest({ mediaType: undefined }), mediaTypes.ociIndex, 'unsupported manifest type'],
    ['schema 1', { schemaVersion: 1, fsLayers: [] }, mediaTypes.dockerSchema1Signed, 'schema 1'],
    ['no version', { layers: [] }, '', 'schemaVersion'],
    ['a digest that is a path', manifest({ config: { ...blob(mediaTypes.dockerConfig), digest: 'sha256:../../x' } }), '', 'invalid digest'],
    ['a negative size', manifest({ layers: [{ ...blob(mediaTypes.dockerLayer), size: -1 }] }), '', 'size'],
    ['an artifact', manifest({ config: blob('application/vnd.cncf.helm.config.v1+json') }), '', 'no container image'],
    ['foreign layers', manifest({ layers: [blob(mediaTypes.dockerForeignLayer)] }), '', 'foreign'],
    ['a layer of another kind', manifest({ layers: [blob('text/plain')] }), '', 'unsupported type'],
    ['128 layers', manifest({ layers: Array.from({ length: 128 }, () => blob(mediaTypes.dockerLayer)) }), '', '128 layers'],
    ['layers that are no list', manifest({ layers: {} }), '', 'not a list'],
    ['a key twice', '{"schemaVersion":2,"schemaVersion":2}', '', 'appears twice'],
    ['too deep', '['.repeat(70) + ']'.repeat(70), '', 'nested deeper'],
    ['an unsafe integer', '{"schemaVersion":9007199254740993}', '', 'out of range'],
    ['something after it', '{} {}', '', 'follows'],
    ['HTML', '<html>', '', 'not valid JSON'],
  ])('is refused with %s', (_, document, type, message) => {
    expect(() => parseManifest(bytes(document), type)).toThrow(message);
  });

  it('takes 127 layers', () => {
    const layers = Array.from({ length: 127 }, () => blob(mediaTypes.dockerLayer));
    expect(parseManifest(bytes(manifest({ layers })), '')).toMatchObject({ kind: 'image' });
  });

  it('must agree with its configuration about the number of layers', () => {
    const config = bytes({ os: 'linux', architecture: 'amd64', rootfs: { type: 'layers', diff_ids: [sha256('a')] } });
    expect(parseRootFs(config, 1).diffIds).toEqual([sha256('a')]);
    expect(() => parseRootFs(config, 2)).toThrow('2 layers in its manifest and 1');
  });

  it('fails as an invalid parameter, whatever member has whatever type', () => {
    const json = fc.jsonValue({ maxDepth: 3 });
    const keys = fc.constantFrom('schemaVersion', 'mediaType', 'config', 'layers', 'manifests', '__proto__', 'constructor');
    fc.assert(
      fc.property(fc.array(fc.tuple(keys, json), { maxLength: 4 }), (members) => {
        try {
          parseManifest(bytes({ ...manifest(), ...Object.fromEntries(members) }), '');
        } catch (error) {
          expect((error as { kind?: string }).kind).toBe('invalid-parameter');
        }
      }),
      { numRuns: 1000 },
    );
    expect(({} as Record<string, unknown>)['x']).toBeUndefined();
  });
});

describe('a platform', () => {
  it.each([
    ['linux/amd64', ['linux/arm64', 'linux/amd64'], 'linux/amd64'],
    ['linux/amd64/v3', ['linux/amd64', 'linux/amd64/v2', 'linux/amd64/v4'], 'linux/amd64/v2'],
    ['linux/amd64', ['linux/amd64/v2'], undefined],
    ['linux/arm64', ['linux/arm/v7', 'linux/arm64/v8'], 'linux/arm64/v8'],
    ['linux/arm64', ['linux/arm/v6', 'linux/arm/v7'], 'linux/arm/v7'],
    ['linux/arm/v6', ['linux/arm/v7', 'linux/arm/v5'], 'linux/arm/v5'],
    ['linux/arm64', ['linux/amd64', 'windows/arm64'], undefined],
    ['linux/x86_64', ['linux/amd64'], 'linux/amd64'],
  ])('%s chooses from %j: %s', (wanted, offered, expected) => {
    const chosen = selectPlatform(index(...offered), parsePlatform(wanted));
    expect(chosen?.digest).toBe(expected === undefined ? undefined : sha256(expected));
  });

  it('never chooses an attestation', () => {
    const both = index('unknown/unknown', 'linux/amd64');
    expect(selectPlatform(both, parsePlatform('linux/amd64'))?.digest).toBe(sha256('linux/amd64'));
    expect(platformsOf(both).map(formatPlatform)).toEqual(['linux/amd64']);
  });

  it('is read from a word', () => {
    const host = { os: 'linux', architecture: 'amd64', variant: '' };
    expect(formatPlatform(parsePlatform('arm64', host))).toBe('linux/arm64');
    expect(formatPlatform(parsePlatform('linux', host))).toBe('linux/amd64');
    expect(formatPlatform(parsePlatform('linux/arm', host))).toBe('linux/arm/v7');
    expect(() => parsePlatform('linux/a b')).toThrow('invalid platform');
    expect(() => parsePlatform('a/b/c/d')).toThrow('invalid platform');
  });
});

describe('strict JSON', () => {
  it('reads what JSON.parse reads', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const safe = JSON.stringify(value);
        let strict: unknown;
        try {
          strict = parseJson(Buffer.from(safe), 'x');
        } catch (error) {
          // Integers beyond 2^53 are the one thing that differs.
          expect(String(error)).toContain('out of range');
          return;
        }
        expect(JSON.stringify(strict)).toBe(JSON.stringify(JSON.parse(safe)));
      }),
    );
  });

  it('keeps __proto__ a plain key', () => {
    const parsed = parseJson(Buffer.from('{"__proto__":{"x":1}}'), 'x') as Record<string, unknown>;
    expect(Object.keys(parsed)).toEqual(['__proto__']);
    expect(({} as Record<string, unknown>)['x']).toBeUndefined();
  });
});
