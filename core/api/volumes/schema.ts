import { bool, integer, object, required, text, textMap } from '../json-schema.js';

type Maybe<T> = T | null | undefined;

export interface VolumeCreateBody {
  Name?: Maybe<string>;
  Driver?: Maybe<string>;
  DriverOpts?: Maybe<Record<string, string | null>>;
  Labels?: Maybe<Record<string, string | null>>;
  /** Swarm's cluster volumes. */
  ClusterVolumeSpec?: Maybe<object>;
}

/** The body may be left out: an anonymous volume of the local driver. */
export const create = {
  body: object({ Name: text, Driver: text, DriverOpts: textMap, Labels: textMap, ClusterVolumeSpec: { type: ['object', 'null'] } }),
};

export const LIST_FILTERS = ['dangling', 'driver', 'label', 'name'] as const;
export const PRUNE_FILTERS = ['all', 'label', 'label!'] as const;

/** Of a clone or snapshot. */
export interface VolumeCopyBody {
  /** Of the new volume. */
  Name?: Maybe<string>;
  Labels?: Maybe<Record<string, string | null>>;
  /** Containers that use the volume stand still meanwhile. */
  Freeze?: Maybe<boolean>;
}

export interface VolumeRenameBody {
  Name?: Maybe<string>;
}

export interface VolumeResizeBody {
  /** Bytes. */
  Size?: Maybe<number>;
}

export const copy = { body: required(object({ Name: text, Labels: textMap, Freeze: bool })) };
export const rename = { body: required(object({ Name: text })) };
export const resize = { body: required(object({ Size: integer })) };
