import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { sha256 } from '../contracts/ids.js';
import { emptyProcessConfig, parseImageConfig, serializeImageConfig, type ImageConfig } from './image-config.js';

const parse = (document: unknown): ImageConfig => parseImageConfig(Buffer.from(JSON.stringify(document)));
const rootfs = { type: 'layers', diff_ids: [sha256('a')] };

describe('an image configuration', () => {
  it('is read as Docker and OCI write it', () => {
    expect(
      parse({
        created: '2024-01-02T03:04:05.000000001Z',
        architecture: 'arm64',
        variant: 'v8',
        os: 'linux',
        docker_version: '20',
        container_config: { Anything: true },
        config: {
          User: 'app',
          ExposedPorts: { '80/tcp': {} },
          Env: ['A=b', 'TAKE_FROM_THE_DAEMON'],
          Entrypoint: 'old-style',
          Cmd: ['-x'],
          Volumes: { '/data': {} },
          Labels: { a: 'b' },
          Healthcheck: { Test: ['CMD', 'x'], Interval: 5e9, Retries: 2 },
          Shell: ['/bin/sh', '-ec'],
          OnBuild: null,
        },
        rootfs,
        history: [{ created: 'x', created_by: 'RUN y', empty_layer: true }],
      }),
    ).toMatchObject({
      variant: 'v8',
      diffIds: [sha256('a')],
      config: {
        user: 'app',
        exposedPorts: ['80/tcp'],
        env: ['A=b'],
        entrypoint: ['old-style'],
        cmd: ['-x'],
        volumes: ['/data'],
        labels: { a: 'b' },
        healthcheck: { test: ['CMD', 'x'], interval: 5e9, retries: 2 },
        onBuild: [],
      },
      history: [{ createdBy: 'RUN y', emptyLayer: true }],
    });
    expect(parse({ rootfs, config: null }).config).toEqual(emptyProcessConfig);
  });

  it.each<[string, unknown, string]>([
    ['no root file system', {}, 'names no root file system'],
    ['another kind of it', { rootfs: { type: 'layers+base' } }, 'unknown root file system type'],
    ['a diff ID that is a path', { rootfs: { diff_ids: ['../../x'] } }, 'invalid digest'],
    ['a list for a configuration', { rootfs, config: [] }, 'not an object'],
    ['a number in the environment', { rootfs, config: { Env: [1] } }, 'config.Env[0] is not a string'],
    ['a list for a label', { rootfs, config: { Labels: { a: [] } } }, 'Labels.a is not a string'],
    ['a text for a number', { rootfs, config: { Healthcheck: { Retries: '3' } } }, 'Retries is not a number'],
  ])('is refused with %s', (_, document, message) => {
    expect(() => parse(document)).toThrow(message);
  });

  it('fails as an invalid parameter, whatever member has whatever type', () => {
    const keys = fc.constantFrom('created', 'os', 'config', 'rootfs', 'history', '__proto__', 'architecture');
    const inner = fc.constantFrom('Env', 'Cmd', 'Labels', 'Volumes', 'ExposedPorts', 'Healthcheck', 'User', 'constructor');
    const any = fc.jsonValue({ maxDepth: 2 });
    fc.assert(
      fc.property(fc.array(fc.tuple(keys, any), { maxLength: 2 }), fc.array(fc.tuple(inner, any), { maxLength: 3 }), (outer, members) => {
        try {
          parse({ rootfs, config: Object.fromEntries(members), ...Object.fromEntries(outer) });
        } catch (error) {
          expect((error as { kind?: string }).kind).toBe('invalid-parameter');
        }
      }),
      { numRuns: 1000 },
    );
  });

  it('is written so that it reads back the same', () => {
    const text = fc.string({ maxLength: 12 });
    const words = fc.array(text, { maxLength: 3 });
    const keys = fc.uniqueArray(text, { maxLength: 3 });
    const maybe = fc.option(words, { nil: undefined });
    const config = fc.record({
      user: text,
      exposedPorts: keys,
      env: fc.array(
        text.map((value) => `K=${value}`),
        { maxLength: 3 },
      ),
      entrypoint: maybe,
      cmd: maybe,
      volumes: keys,
      workingDir: text,
      labels: fc.constant({ a: '<b>', c: '' }),
      stopSignal: text,
      healthcheck: fc.constantFrom(undefined, { test: ['NONE'], interval: 1e9, timeout: 0, startPeriod: 0, startInterval: 0, retries: 1 }),
      shell: maybe,
      onBuild: words,
    });
    fc.assert(
      fc.property(config, text, (processConfig, author) => {
        const image: ImageConfig = {
          created: '2024-01-02T03:04:05Z',
          author,
          comment: '',
          architecture: 'amd64',
          variant: '',
          os: 'linux',
          config: processConfig,
          diffIds: [sha256('a')],
          history: [{ created: '', createdBy: 'x', author: '', comment: '', emptyLayer: true }],
        };
        const read = parseImageConfig(serializeImageConfig(image));
        expect({ ...read.config, exposedPorts: read.config.exposedPorts.toSorted(), volumes: read.config.volumes.toSorted() }).toEqual({
          ...processConfig,
          exposedPorts: processConfig.exposedPorts.toSorted(),
          volumes: processConfig.volumes.toSorted(),
        });
        expect({ ...read, config: undefined }).toEqual({ ...image, config: undefined });
      }),
    );
  });
});
