import { invalid } from '@gantry/core/contracts/errors.js';
import { parseSize } from '@gantry/core/contracts/size.js';
import { checkOptions, fullNames } from '../options.js';

const KNOWN = [
  'thinpooldev',
  'directlvm_device',
  'directlvm_device_force',
  'thinp_metapercent',
  'loopdatasize',
  'loopmetadatasize',
  'basesize',
  'blocksize',
  'fs',
  'mkfsarg',
  'mountopt',
  'min_free_space',
  'use_deferred_removal',
  'use_deferred_deletion',
] as const;

/** As users write them. */
export const poolOptions: readonly string[] = fullNames('dm', KNOWN);

export type PoolFileSystem = 'ext4' | 'xfs';

/** Where the pool's blocks are. */
export type PoolSource =
  /** Sparse files in the driver's folder: for trial. */
  | { readonly kind: 'loop'; readonly dataBytes: number; readonly metadataBytes: number }
  /** A thin pool that somebody made, such as LVM. */
  | { readonly kind: 'pool'; readonly device: string }
  /** A whole block device, of which the first part keeps the pool's metadata. */
  | { readonly kind: 'device'; readonly device: string; readonly force: boolean; readonly metadataPercent: number };

/** dockerd's `dm.` options. Sizes in bytes. */
export interface PoolSettings {
  readonly source: PoolSource;
  /** Size of the file system that every snapshot has. */
  readonly baseBytes: number;
  /** Of the pool's blocks, in sectors of 512 bytes. */
  readonly blockSectors: number;
  readonly fileSystem: PoolFileSystem;
  readonly mkfsArgs: readonly string[];
  readonly mountOptions: readonly string[];
  /** Percent of the pool that must be free for a new snapshot. */
  readonly minFreePercent: number;
  readonly deferredRemoval: boolean;
  readonly deferredDeletion: boolean;
}

export function readSettings(options: Readonly<Record<string, string>>): PoolSettings {
  // In dockerd's words its options begin with `dm.`.
  const bare = Object.fromEntries(Object.entries(options).map(([key, value]) => [key.replace(/^(dm|devicemapper)\./, ''), value]));
  checkOptions('dm', bare, KNOWN);
  const size = (name: string, absent: string): number => {
    try {
      return parseSize(bare[name] ?? absent);
    } catch (error) {
      throw invalid(`storage option dm.${name}: ${JSON.stringify(bare[name])} is no size`, error);
    }
  };
  const flag = (name: string, absent: boolean): boolean => {
    const text = bare[name] ?? String(absent);
    if (!/^(true|false|1|0)$/i.test(text)) throw invalid(`storage option dm.${name} must be true or false, not ${JSON.stringify(text)}`);
    return /^(true|1)$/i.test(text);
  };
  const percent = (name: string, absent: string): number => {
    const text = (bare[name] ?? absent).replace(/%$/, '');
    if (!/^\d{1,2}$/.test(text))
      throw invalid(`storage option dm.${name} must be a percentage below 100, not ${JSON.stringify(bare[name])}`);
    return Number(text);
  };
  const fileSystem = bare['fs'] ?? 'xfs';
  if (fileSystem !== 'ext4' && fileSystem !== 'xfs')
    throw invalid(`storage option dm.fs must be ext4 or xfs, not ${JSON.stringify(fileSystem)}`);
  const blockBytes = size('blocksize', '64k');
  if (blockBytes < 65_536 || blockBytes > 1_073_741_824 || blockBytes % 65_536 !== 0)
    throw invalid('storage option dm.blocksize must be a multiple of 64k between 64k and 1g');
  const deferredRemoval = flag('use_deferred_removal', true);
  const deferredDeletion = flag('use_deferred_deletion', deferredRemoval);
  if (deferredDeletion && !deferredRemoval) throw invalid('storage option dm.use_deferred_deletion needs dm.use_deferred_removal=true');
  const words = (text: string | undefined, between: RegExp): string[] => (text ?? '').split(between).filter((word) => word !== '');
  return {
    source: sourceOf(bare, size, flag, percent),
    baseBytes: size('basesize', '10g'),
    blockSectors: blockBytes / 512,
    fileSystem,
    mkfsArgs: words(bare['mkfsarg'], /\s+/),
    mountOptions: words(bare['mountopt'], /,/),
    minFreePercent: percent('min_free_space', '10%'),
    deferredRemoval,
    deferredDeletion,
  };
}

function sourceOf(
  bare: Readonly<Record<string, string>>,
  size: (name: string, absent: string) => number,
  flag: (name: string, absent: boolean) => boolean,
  percent: (name: string, absent: string) => number,
): PoolSource {
  const { thinpooldev, directlvm_device: device } = bare;
  if (thinpooldev !== undefined && device !== undefined)
    throw invalid('storage options dm.thinpooldev and dm.directlvm_device exclude each other');
  if (thinpooldev !== undefined) return { kind: 'pool', device: thinpooldev };
  if (device !== undefined)
    return { kind: 'device', device, force: flag('directlvm_device_force', false), metadataPercent: percent('thinp_metapercent', '1%') };
  return { kind: 'loop', dataBytes: size('loopdatasize', '100g'), metadataBytes: size('loopmetadatasize', '2g') };
}
