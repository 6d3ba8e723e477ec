import { resolve } from 'node:path';
import { parseBytes } from '../render/parse.js';
import type { Mount } from './body.js';
import { csvFields } from './csv.js';

/** What `-v` asks for: a bind or named volume (`bind`), or an anonymous volume at `target`. */
export const parseVolume = (text: string): { bind: string } | { target: string } => {
  if (text === '') throw new Error('invalid empty volume spec');
  if (text.length <= 2) return { target: text };
  const parts = text.split(':');
  if (parts.some((part) => part === '')) throw new Error(`invalid spec: ${text}: empty section between colons`);
  if (parts.length === 1) return { target: text };
  const [source, ...rest] = parts as [string, ...string[]];
  return { bind: [source.startsWith('.') ? resolve(source) : source, ...rest].join(':') };
};

const mountTypes: Record<string, string> = {
  bind: 'bind',
  volume: 'volume',
  tmpfs: 'tmpfs',
  image: 'image',
  npipe: 'npipe',
  cluster: 'cluster',
};
const switches = new Set(['readonly', 'ro', 'volume-nocopy', 'bind-nonrecursive', 'bind-create-src']);

/** `--mount type=bind,source=/a,target=/b,readonly` */
export const parseMount = (text: string): Mount => {
  const mount: Mount = { Type: 'volume' };
  for (const field of csvFields(text)) {
    const at = field.indexOf('=');
    const key = (at < 0 ? field : field.slice(0, at)).trim().toLowerCase();
    if (at < 0 && !switches.has(key)) throw new Error(`invalid field '${field}' must be a key=value pair`);
    setField(mount, key, at < 0 ? undefined : field.slice(at + 1), field);
  }
  check(mount);
  return mount;
};

const setField = (mount: Mount, key: string, given: string | undefined, field: string): void => {
  const value = given ?? '';
  const bind = (): NonNullable<Mount['BindOptions']> => (mount.BindOptions ??= {});
  const volume = (): NonNullable<Mount['VolumeOptions']> => (mount.VolumeOptions ??= {});
  const tmpfs = (): NonNullable<Mount['TmpfsOptions']> => (mount.TmpfsOptions ??= {});
  switch (key) {
    case 'type':
      mount.Type = mountTypes[value.toLowerCase()] ?? value.toLowerCase();
      return;
    case 'source':
    case 'src':
      mount.Source = value === '.' || value === '..' || value.startsWith('./') || value.startsWith('../') ? resolve(value) : value;
      return;
    case 'target':
    case 'dst':
    case 'destination':
      mount.Target = value;
      return;
    case 'readonly':
    case 'ro':
      mount.ReadOnly = truth(key, given);
      return;
    case 'consistency':
      mount.Consistency = value.toLowerCase();
      return;
    case 'bind-propagation':
      bind().Propagation = value.toLowerCase();
      return;
    case 'bind-nonrecursive':
      bind().NonRecursive = truth(key, given);
      return;
    case 'bind-create-src':
      bind().CreateMountpoint = truth(key, given);
      return;
    case 'bind-recursive':
      recursion(mount, bind(), value);
      return;
    case 'volume-subpath':
      volume().Subpath = value;
      return;
    case 'image-subpath':
      (mount.ImageOptions ??= {}).Subpath = value;
      return;
    case 'volume-nocopy':
      volume().NoCopy = truth(key, given);
      return;
    case 'volume-label':
      put((volume().Labels ??= {}), value);
      return;
    case 'volume-driver':
      (volume().DriverConfig ??= {}).Name = value;
      return;
    case 'volume-opt':
      put(((volume().DriverConfig ??= {}).Options ??= {}), value);
      return;
    case 'tmpfs-size':
      try {
        tmpfs().SizeBytes = parseBytes(value);
      } catch {
        throw new Error(`invalid value for ${key}: ${value}`);
      }
      return;
    case 'tmpfs-mode':
      if (!/^[0-7]+$/.test(value)) throw new Error(`invalid value for ${key}: ${value}`);
      tmpfs().Mode = Number.parseInt(value, 8);
      return;
    default:
      throw new Error(`unexpected key '${key}' in '${field}'`);
  }
};

const truth = (key: string, value: string | undefined): boolean => {
  if (value === undefined || ['1', 't', 'T', 'TRUE', 'true', 'True'].includes(value)) return true;
  if (['0', 'f', 'F', 'FALSE', 'false', 'False'].includes(value)) return false;
  throw new Error(`invalid value for ${key}: ${value}`);
};

const put = (target: Record<string, string>, text: string): void => {
  const at = text.indexOf('=');
  target[at < 0 ? text : text.slice(0, at)] = at < 0 ? '' : text.slice(at + 1);
};

const recursion = (mount: Mount, bind: NonNullable<Mount['BindOptions']>, value: string): void => {
  if (value === 'enabled') return;
  if (value === 'disabled') bind.NonRecursive = true;
  else if (value === 'writable') bind.ReadOnlyNonRecursive = true;
  else if (value === 'readonly') bind.ReadOnlyForceRecursive = true;
  else throw new Error(`invalid value for bind-recursive: ${value} (must be "enabled", "disabled", "writable", or "readonly")`);
};

const check = (mount: Mount): void => {
  if (mount.Type === '') throw new Error('type is required');
  if (!mount.Target) throw new Error('target is required');
  const only = (given: unknown, kind: string): void => {
    if (given !== undefined && mount.Type !== kind) throw new Error(`cannot mix '${kind}-*' options with mount type '${mount.Type}'`);
  };
  only(mount.VolumeOptions, 'volume');
  only(mount.BindOptions, 'bind');
  only(mount.TmpfsOptions, 'tmpfs');
  only(mount.ImageOptions, 'image');
  if (mount.BindOptions?.ReadOnlyNonRecursive && !mount.ReadOnly)
    throw new Error("option 'bind-recursive=writable' requires 'readonly' to be specified in conjunction");
  if (mount.BindOptions?.ReadOnlyForceRecursive) {
    if (!mount.ReadOnly) throw new Error("option 'bind-recursive=readonly' requires 'readonly' to be specified in conjunction");
    if (mount.BindOptions.Propagation !== 'rprivate')
      throw new Error("option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in conjunction");
  }
};
