import type { Healthcheck, ProcessConfig } from '../container/container.js';
import { invalid } from '../contracts/errors.js';
import { parseDigest, type DiffId } from '../contracts/ids.js';
import { JsonReader, parseJson } from '../content/json.js';
import { limits } from '../content/limits.js';
import type { HistoryEntry } from './images.js';

/** What an image's configuration blob says, in the field's words. Members that are not known are left alone: the blob keeps them. */
export interface ImageConfig {
  readonly created: string;
  readonly author: string;
  readonly comment: string;
  readonly architecture: string;
  readonly variant: string;
  readonly os: string;
  readonly config: ProcessConfig;
  /** Bottom first. */
  readonly diffIds: readonly DiffId[];
  readonly history: readonly HistoryEntry[];
}

export const emptyProcessConfig: ProcessConfig = {
  user: '',
  exposedPorts: [],
  env: [],
  entrypoint: undefined,
  cmd: undefined,
  volumes: [],
  workingDir: '',
  labels: {},
  stopSignal: '',
  healthcheck: undefined,
  shell: undefined,
  onBuild: [],
};

/** A list of words; old builders wrote a single word without a list. */
function words(reader: JsonReader, key: string): string[] | undefined {
  const value = reader.raw(key);
  return typeof value === 'string' ? [value] : reader.strings(key);
}

function healthcheck(reader: JsonReader | undefined): Healthcheck | undefined {
  return (
    reader && {
      test: words(reader, 'Test') ?? [],
      interval: reader.number('Interval'),
      timeout: reader.number('Timeout'),
      startPeriod: reader.number('StartPeriod'),
      startInterval: reader.number('StartInterval'),
      retries: reader.number('Retries'),
    }
  );
}

function processConfig(reader: JsonReader | undefined): ProcessConfig {
  if (!reader) return emptyProcessConfig;
  return {
    user: reader.string('User'),
    exposedPorts: reader.child('ExposedPorts')?.keys() ?? [],
    // A name without a value would be taken from whoever runs the container: an image may not ask for that.
    env: (reader.strings('Env') ?? []).filter((entry) => entry.includes('=')),
    entrypoint: words(reader, 'Entrypoint'),
    cmd: words(reader, 'Cmd'),
    volumes: reader.child('Volumes')?.keys() ?? [],
    workingDir: reader.string('WorkingDir'),
    labels: reader.stringMap('Labels'),
    stopSignal: reader.string('StopSignal'),
    healthcheck: healthcheck(reader.child('Healthcheck')),
    shell: words(reader, 'Shell'),
    onBuild: reader.strings('OnBuild') ?? [],
  };
}

/** Parses a configuration blob, Docker's or OCI's: types are checked, unknown members tolerated. */
export function parseImageConfig(bytes: Uint8Array): ImageConfig {
  if (bytes.byteLength > limits.configBytes)
    throw invalid(`the image configuration has ${bytes.byteLength} bytes, more than ${limits.configBytes}`);
  const reader = JsonReader.of(parseJson(bytes, 'the image configuration'), 'the image configuration');
  const rootfs = reader.child('rootfs');
  if (!rootfs) throw invalid('the image configuration names no root file system');
  const type = rootfs.string('type');
  if (type !== 'layers' && type !== '') throw invalid(`unknown root file system type ${JSON.stringify(type.slice(0, 80))}`);
  return {
    created: reader.string('created'),
    author: reader.string('author'),
    comment: reader.string('comment'),
    architecture: reader.string('architecture'),
    variant: reader.string('variant'),
    os: reader.string('os') || 'linux',
    config: processConfig(reader.child('config')),
    diffIds: (rootfs.strings('diff_ids') ?? []).map(parseDigest),
    history: reader.children('history').map((entry) => ({
      created: entry.string('created'),
      createdBy: entry.string('created_by'),
      author: entry.string('author'),
      comment: entry.string('comment'),
      emptyLayer: entry.boolean('empty_layer'),
    })),
  };
}

const keysToObject = (keys: readonly string[]): Record<string, object> => Object.fromEntries(keys.map((key) => [key, {}]));

function healthcheckJson(check: Healthcheck): Record<string, unknown> {
  return {
    ...(check.test.length > 0 ? { Test: check.test } : {}),
    ...(check.interval ? { Interval: check.interval } : {}),
    ...(check.timeout ? { Timeout: check.timeout } : {}),
    ...(check.startPeriod ? { StartPeriod: check.startPeriod } : {}),
    ...(check.startInterval ? { StartInterval: check.startInterval } : {}),
    ...(check.retries ? { Retries: check.retries } : {}),
  };
}

/** The `config` member of a configuration, with the names and in the order of the OCI image specification. */
function processConfigJson(config: ProcessConfig): Record<string, unknown> {
  return {
    ...(config.user ? { User: config.user } : {}),
    ...(config.exposedPorts.length > 0 ? { ExposedPorts: keysToObject(config.exposedPorts) } : {}),
    ...(config.env.length > 0 ? { Env: config.env } : {}),
    ...(config.entrypoint ? { Entrypoint: config.entrypoint } : {}),
    ...(config.cmd ? { Cmd: config.cmd } : {}),
    ...(config.volumes.length > 0 ? { Volumes: keysToObject(config.volumes) } : {}),
    ...(config.workingDir ? { WorkingDir: config.workingDir } : {}),
    ...(Object.keys(config.labels).length > 0 ? { Labels: config.labels } : {}),
    ...(config.stopSignal ? { StopSignal: config.stopSignal } : {}),
    ...(config.healthcheck ? { Healthcheck: healthcheckJson(config.healthcheck) } : {}),
    ...(config.shell ? { Shell: config.shell } : {}),
    ...(config.onBuild.length > 0 ? { OnBuild: config.onBuild } : {}),
  };
}

/** The bytes of a new configuration blob. */
export function serializeImageConfig(image: ImageConfig): Buffer {
  const history = image.history.map((entry) => ({
    created: entry.created,
    ...(entry.createdBy ? { created_by: entry.createdBy } : {}),
    ...(entry.author ? { author: entry.author } : {}),
    ...(entry.comment ? { comment: entry.comment } : {}),
    ...(entry.emptyLayer ? { empty_layer: true } : {}),
  }));
  return Buffer.from(
    JSON.stringify({
      ...(image.created ? { created: image.created } : {}),
      ...(image.author ? { author: image.author } : {}),
      ...(image.comment ? { comment: image.comment } : {}),
      architecture: image.architecture,
      ...(image.variant ? { variant: image.variant } : {}),
      os: image.os,
      config: processConfigJson(image.config),
      rootfs: { type: 'layers', diff_ids: image.diffIds },
      history,
    }),
  );
}
