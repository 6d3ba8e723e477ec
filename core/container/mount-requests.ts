import { posix } from 'node:path';
import { invalid } from '../contracts/errors.js';
import type { HostConfig, MountPoint, MountRequest } from './container.js';

/** A mount as asked for, before its volume exists. */
export interface MountDraft {
  readonly point: MountPoint;
  /** For a volume that is not there yet. */
  readonly volume?: { readonly labels: Readonly<Record<string, string>>; readonly options: Readonly<Record<string, string>> };
  /** A bind whose source has to exist already at create. */
  readonly sourceMustExist: boolean;
}

const PROPAGATION = /^r?(?:private|shared|slave)$/;
const CONSISTENCY = /^(?:consistent|cached|delegated|default)$/;
const VOLUME_NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/;

const EMPTY: MountPoint = {
  type: 'volume',
  name: '',
  source: '',
  destination: '',
  driver: '',
  mode: '',
  readWrite: true,
  propagation: '',
  anonymous: false,
  noCopy: false,
  subpath: '',
  tmpfsOptions: '',
};

/** Absolute, without `.`, `..`, doubled or trailing slashes. */
function cleanTarget(target: string, describe: (why: string) => string): string {
  if (!target.startsWith('/')) throw invalid(describe(`invalid mount path: '${target}' mount path must be absolute`));
  const clean = cleanPath(target);
  if (clean === '/') throw invalid(describe("invalid specification: destination can't be '/'"));
  return clean;
}

export function cleanPath(path: string): string {
  const normal = posix.normalize(path);
  return normal.length > 1 && normal.endsWith('/') ? normal.slice(0, -1) : normal;
}

/** Stays below where it starts, as far as its words tell. */
const isLocal = (path: string): boolean => !path.startsWith('/') && !/^\.\.(?:\/|$)/.test(posix.normalize(path));

/** `-v`: `source:target[:options]`, or `target` alone for an anonymous volume. */
export function parseBind(spec: string, volumeDriver: string): MountDraft {
  const bad = (): never => {
    throw invalid(`invalid volume specification: '${spec}'`);
  };
  const parts = spec.split(':');
  if (parts.length > 3 || parts.some((part) => part === '')) bad();
  const [source, target, mode] = parts.length === 1 ? ['', parts[0] ?? '', ''] : [parts[0] ?? '', parts[1] ?? '', parts[2] ?? ''];
  const destination = cleanTarget(target, (why) => `invalid volume specification: '${spec}': ${why}`);
  const isBind = source.startsWith('/');
  const options = parseMode(mode, isBind ? 'bind' : 'volume');
  if (isBind) {
    return {
      point: {
        ...EMPTY,
        type: 'bind',
        source: cleanPath(source),
        destination,
        mode,
        readWrite: options.readWrite,
        propagation: options.propagation === '' ? 'rprivate' : options.propagation,
        recursiveReadOnly: 'enabled',
        createSource: true,
      },
      sourceMustExist: false,
    };
  }
  if (source !== '') checkVolumeName(source);
  return {
    point: {
      ...EMPTY,
      name: source,
      destination,
      driver: volumeDriver,
      mode: mode === '' && source !== '' ? 'z' : mode,
      readWrite: options.readWrite,
      anonymous: source === '',
      noCopy: options.noCopy,
    },
    volume: { labels: {}, options: {} },
    sourceMustExist: false,
  };
}

function checkVolumeName(name: string): void {
  if (VOLUME_NAME.test(name)) return;
  throw invalid(
    `create ${name}: "${name}" includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path`,
  );
}

function parseMode(mode: string, type: 'bind' | 'volume'): { readWrite: boolean; propagation: string; noCopy: boolean } {
  let readWrite: boolean | undefined;
  let [propagation, noCopy, label, consistency] = ['', false, false, false];
  const bad = (): never => {
    throw invalid(`invalid mode: ${mode}`);
  };
  for (const word of mode === '' ? [] : mode.split(',')) {
    if (word === 'ro' || word === 'rw') {
      if (readWrite !== undefined) bad();
      readWrite = word === 'rw';
    } else if (word === 'z' || word === 'Z') {
      if (label) bad();
      label = true;
    } else if (PROPAGATION.test(word) && type === 'bind') {
      if (propagation !== '') bad();
      propagation = word;
    } else if (word === 'nocopy' && type === 'volume') {
      if (noCopy) bad();
      noCopy = true;
    } else if (CONSISTENCY.test(word)) {
      if (consistency) bad();
      consistency = true;
    } else {
      bad();
    }
  }
  return { readWrite: readWrite ?? true, propagation, noCopy };
}

/** `--mount`. */
export function parseMount(mount: MountRequest, volumeDriver: string): MountDraft {
  const describe = (why: string): string => `invalid mount config for type "${mount.type}": ${why}`;
  const refuse = (why: string): never => {
    throw invalid(describe(why));
  };
  if (mount.target === '') refuse('field Target must not be empty');
  const destination = cleanTarget(mount.target, describe);
  const base = { ...EMPTY, type: mount.type, destination, readWrite: !mount.readOnly };
  switch (mount.type) {
    case 'bind': {
      if (mount.source === '') refuse('field Source must not be empty');
      if (mount.volume) refuse('field VolumeOptions must not be specified');
      if (mount.tmpfs) refuse('field TmpfsOptions must not be specified');
      if (mount.image) refuse('field ImageOptions must not be specified');
      if (!mount.source.startsWith('/')) refuse(`invalid mount path: '${mount.source}' mount path must be absolute`);
      const bind = mount.bind;
      const propagation = bind?.propagation ?? '';
      if (propagation !== '' && !PROPAGATION.test(propagation)) refuse(`invalid propagation mode: ${propagation}`);
      if (bind?.readOnlyForceRecursive && bind.readOnlyNonRecursive) {
        refuse('ReadOnlyForceRecursive and ReadOnlyNonRecursive are mutually exclusive');
      }
      if (bind?.readOnlyForceRecursive && bind.nonRecursive) {
        refuse('ReadOnlyForceRecursive and NonRecursive are mutually exclusive');
      }
      if ((bind?.readOnlyForceRecursive || bind?.readOnlyNonRecursive) && !mount.readOnly) {
        refuse('mount source must be read-only for ReadOnlyNonRecursive and ReadOnlyForceRecursive');
      }
      return {
        point: {
          ...base,
          source: cleanPath(mount.source),
          propagation: propagation === '' ? 'rprivate' : propagation,
          nonRecursive: bind?.nonRecursive ?? false,
          recursiveReadOnly: bind?.readOnlyForceRecursive ? 'forced' : bind?.readOnlyNonRecursive ? 'disabled' : 'enabled',
          createSource: bind?.createMountpoint ?? false,
        },
        sourceMustExist: !bind?.createMountpoint,
      };
    }
    case 'volume': {
      if (mount.bind) refuse('field BindOptions must not be specified');
      if (mount.tmpfs) refuse('field TmpfsOptions must not be specified');
      if (mount.source === '' && mount.readOnly) refuse('must not set ReadOnly mode when using anonymous volumes');
      if (mount.source !== '') checkVolumeName(mount.source);
      const subpath = mount.volume?.subpath ?? '';
      if (subpath !== '' && !isLocal(subpath)) refuse('subpath must be a relative path within the volume');
      return {
        point: {
          ...base,
          name: mount.source,
          driver: mount.volume?.driver || volumeDriver,
          mode: 'z',
          anonymous: mount.source === '',
          noCopy: mount.volume?.noCopy ?? false,
          subpath,
        },
        volume: { labels: mount.volume?.labels ?? {}, options: mount.volume?.driverOptions ?? {} },
        sourceMustExist: false,
      };
    }
    case 'tmpfs': {
      if (mount.source !== '') refuse('field Source must not be specified');
      if (mount.bind) refuse('field BindOptions must not be specified');
      if (mount.volume) refuse('field VolumeOptions must not be specified');
      const options = mount.readOnly ? ['ro'] : [];
      const { sizeBytes = 0, mode = 0, options: extra = [] } = mount.tmpfs ?? {};
      if (sizeBytes < 0 || mode < 0 || mode > 0o7777) refuse('invalid tmpfs size or mode');
      if (mode !== 0) options.push(`mode=${mode.toString(8)}`);
      if (sizeBytes !== 0) options.push(`size=${sizeBytes}`);
      for (const [key, value] of extra) if (key !== undefined) options.push(value === undefined ? key : `${key}=${value}`);
      for (const option of options) checkTmpfsOption(option, describe);
      return { point: { ...base, tmpfsOptions: options.join(',') }, sourceMustExist: false };
    }
    case 'image': {
      if (mount.source === '') refuse('field Source must not be empty');
      if (mount.bind) refuse('field BindOptions must not be specified');
      if (mount.volume) refuse('field VolumeOptions must not be specified');
      if (mount.tmpfs) refuse('field TmpfsOptions must not be specified');
      const subpath = mount.image?.subpath ?? '';
      if (subpath !== '' && !isLocal(subpath)) refuse('subpath must be a relative path within the image');
      return { point: { ...base, source: mount.source, readWrite: false, subpath }, sourceMustExist: false };
    }
    default:
      throw invalid(`mount type unknown: ${String(mount.type)}`);
  }
}

const TMPFS_FLAGS = new Set(
  [
    'ro rw exec noexec suid nosuid dev nodev sync async dirsync remount mand nomand atime noatime diratime nodiratime bind rbind relatime norelatime strictatime nostrictatime private rprivate shared rshared slave rslave unbindable runbindable defaults',
  ].flatMap((words) => words.split(' ')),
);
const TMPFS_VALUES = new Set(['size', 'mode', 'uid', 'gid', 'nr_inodes', 'nr_blocks', 'mpol']);

function checkTmpfsOption(option: string, describe: (why: string) => string): void {
  const [key = '', value] = option.split('=', 2);
  if (value === undefined ? TMPFS_FLAGS.has(key) : TMPFS_VALUES.has(key) && value !== '') return;
  throw invalid(describe(`invalid tmpfs option ["${option}"]`));
}

/** `--tmpfs`, checked: clean target to options. */
export function parseTmpfs(tmpfs: HostConfig['tmpfs']): Map<string, string> {
  const result = new Map<string, string>();
  for (const [target, options] of Object.entries(tmpfs)) {
    const describe = (why: string): string => `invalid tmpfs mount '${target}': ${why}`;
    for (const option of options === '' ? [] : options.split(',')) checkTmpfsOption(option, describe);
    result.set(cleanTarget(target, describe), options);
  }
  return result;
}

/** A path of the image's or the request's VOLUME: an anonymous volume of the default driver. */
export function anonymousVolume(path: string, volumeDriver: string): MountDraft {
  return parseBind(
    cleanTarget(path, (why) => `invalid volume specification: '${path}': ${why}`),
    volumeDriver,
  );
}

/** `--volumes-from`: the other container's name and how its mounts are taken over. */
export function parseVolumesFrom(spec: string): { container: string; mode: string } {
  const separator = spec.indexOf(':');
  if (spec === '' || separator === 0) throw invalid(`malformed volumes-from specification: ${spec}`);
  if (separator < 0) return { container: spec, mode: '' };
  const mode = spec.slice(separator + 1);
  parseMode(mode, 'volume');
  return { container: spec.slice(0, separator), mode };
}

export const inheritedMount = (point: MountPoint, mode: string): MountPoint => ({
  ...point,
  mode: '',
  readWrite: point.readWrite && !mode.split(',').includes('ro'),
});
