import type { Readable } from 'node:stream';

export interface Volume {
  readonly name: string;
  readonly driver: string;
  readonly created: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly options: Readonly<Record<string, string>>;
  readonly scope: 'local' | 'global';
  readonly mountpoint: string;
  readonly anonymous: boolean;
}

export interface CreateVolumeRequest {
  /** '' for an anonymous one. */
  readonly name: string;
  /** '' for the one that has a volume of this name, or else local. */
  readonly driver: string;
  readonly options: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
  /** A container that names it from the start, as by {@link Volumes.reference}: no crash can come between. */
  readonly container?: string;
}

/** How a container sees a volume. */
export interface VolumeUse {
  /** In the container. */
  readonly destination: string;
  readonly readWrite: boolean;
  /** '' when nobody chose one. */
  readonly propagation: string;
}

/** A copy of a volume to be made. */
export interface CopyVolume {
  readonly to: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Containers that use the source stand still meanwhile. */
  readonly freeze: boolean;
}

/** Makes containers stand still while a copy of their volume is made. */
export interface Freezer {
  /** Which of these run. */
  running(containers: readonly string[]): string[];
  freeze(container: string): Promise<void>;
  /** Of one that runs, or is gone, this succeeds. */
  thaw(container: string): Promise<void>;
}

export type VolumeFilters = ReadonlyMap<string, readonly string[]>;

export interface Volumes {
  /** Same name and driver gives the old one back; another driver is `conflict`. */
  create(request: CreateVolumeRequest): Promise<Volume>;
  list(filters: VolumeFilters): Promise<{ volumes: Volume[]; warnings: string[] }>;
  inspect(name: string): Promise<Volume & { status?: Record<string, unknown> }>;
  /** `conflict` in use; `force` makes absence fine. */
  remove(name: string, options: { force: boolean }): Promise<void>;
  /** Anonymous ones only, unless `all`. */
  prune(filters: VolumeFilters, options: { all: boolean }): Promise<{ deleted: string[]; spaceReclaimed: number }>;
  /** Records that a container names it, from its create to its remove; survives restarts. */
  reference(name: string, containerId: string): Promise<void>;
  dereference(name: string, containerId: string): Promise<void>;
  /** Host path of the content, for one start of a container. Pairs with `unmount`. `use` is what the event of the mount tells. */
  mount(name: string, containerId: string, use?: VolumeUse): Promise<string>;
  unmount(name: string, containerId: string): Promise<void>;
  /**
   * The copy-up: has `copy` put a volume's first content in when it is empty. It is mounted for the container, and nobody else comes
   * in between. A copy that failed or was cut off leaves an empty volume.
   */
  fill(name: string, containerId: string, copy: (path: string) => Promise<unknown>): Promise<void>;
  usage(name: string): Promise<{ size: number; references: number }>;
  /** At daemon start, once it is known which containers there are: drops the references of all others, and anonymous volumes that only a cut-off create had made. */
  settle(containers: ReadonlySet<string>): Promise<void>;

  /** A new volume of the same driver with the content of another. */
  clone(name: string, request: CopyVolume): Promise<Volume>;
  /** As {@link clone}, as of one instant; the new volume's labels say of what and when. */
  snapshot(name: string, request: CopyVolume): Promise<Volume>;
  /** `conflict` while a container names it. */
  rename(name: string, to: string): Promise<Volume>;
  /** Limits what it may hold, in bytes. `not-implemented` when the driver cannot. */
  resize(name: string, bytes: number): Promise<void>;
  /** The content as an uncompressed tar. The stream fails, rather than ends, when it cannot be complete. */
  exportFrom(name: string, options: { freeze: boolean }): Promise<Readable>;
  /** Fills an empty volume that no container names from a tar, plain or compressed. On failure it is empty again. */
  importInto(name: string, archive: Readable): Promise<void>;
}
