import type { Readable } from 'node:stream';
import type { ContainerConfig, ProcessConfig } from '../container/container.js';
import type { PlatformSpec as Platform } from '../content/platform.js';
import type { Digest, DiffId } from '../contracts/ids.js';
import type { RegistryAuth } from '../distribution/credentials.js';
import type { ProgressSink } from '../distribution/progress.js';
import type { LayerSource } from '../layer/layers.js';

export interface HistoryEntry {
  readonly created: string;
  readonly createdBy: string;
  readonly author: string;
  readonly comment: string;
  readonly emptyLayer: boolean;
}

/** An image as it is on this machine: its configuration parsed, under the digest of that configuration. */
export interface Image {
  readonly id: Digest;
  readonly created: string;
  readonly author: string;
  readonly comment: string;
  readonly architecture: string;
  readonly variant: string;
  readonly os: string;
  readonly config: ProcessConfig;
  readonly diffIds: readonly DiffId[];
  readonly history: readonly HistoryEntry[];
  /** Bytes of all its layers, unpacked. */
  readonly size: number;
  /** Familiar form: `busybox:latest`. */
  readonly repoTags: readonly string[];
  readonly repoDigests: readonly string[];
  /** RFC 3339, '' when never. */
  readonly lastTagged: string;
  readonly parent: string;
}

export interface ImageHistory {
  readonly id: string;
  readonly created: string;
  readonly createdBy: string;
  readonly tags: readonly string[];
  readonly size: number;
  readonly comment: string;
}

export type { RegistryAuth } from '../distribution/credentials.js';
export type { Progress, ProgressSink } from '../distribution/progress.js';
export type { PlatformSpec as Platform } from '../content/platform.js';

export type ImageFilters = ReadonlyMap<string, readonly string[]>;

export type DeletedImage = { readonly untagged: string } | { readonly deleted: string };

/** Images, by `sha256:` id, id prefix, `name[:tag]`, `name@digest`; familiar or full form. */
export interface Images {
  list(options: { all: boolean; filters: ImageFilters }): Promise<Image[]>;
  inspect(name: string): Promise<Image>;
  /** `not-found` with "No such image: NAME". From memory. */
  resolve(name: string): Image;
  /** `undefined` instead of throwing. */
  find(name: string): Image | undefined;
  /** The id of what {@link find} finds, for a fraction of the work. */
  idOf(name: string): Digest | undefined;
  /** The image's layers and where their bytes are, bottom first, for a container's writable layer on top. From memory. */
  layersOf(image: Image): LayerSource[];
  /** `tag` may be a digest; '' pulls all tags. `storageDriver` '' is the daemon's default: layers are unpacked for it right away. */
  pull(
    request: { name: string; tag: string; platform: Platform | undefined; auth: RegistryAuth | undefined; storageDriver: string },
    progress: ProgressSink,
    signal: AbortSignal,
  ): Promise<void>;
  push(
    request: { name: string; tag: string; platform: Platform | undefined; auth: RegistryAuth | undefined },
    progress: ProgressSink,
    signal: AbortSignal,
  ): Promise<void>;
  tag(name: string, repository: string, tag: string): Promise<void>;
  /** `conflict` when a container uses it, or several names for an id without `force`. */
  remove(name: string, options: { force: boolean; noPrune: boolean }): Promise<DeletedImage[]>;
  prune(filters: ImageFilters): Promise<{ deleted: DeletedImage[]; spaceReclaimed: number }>;
  history(name: string): Promise<ImageHistory[]>;
  /** docker-archive and OCI layout in one archive. */
  save(names: readonly string[], platform: Platform | undefined): Promise<Readable>;
  load(archive: Readable, options: { quiet: boolean }, progress: ProgressSink): Promise<void>;
  import(
    archive: Readable,
    request: { repository: string; tag: string; message: string; changes: readonly string[]; platform: Platform | undefined },
    progress: ProgressSink,
  ): Promise<Digest>;
  /** From a registry, without pulling: GET /distribution/NAME/json. */
  distribution(
    name: string,
    auth: RegistryAuth | undefined,
  ): Promise<{ mediaType: string; digest: Digest; size: number; platforms: Platform[] }>;
  login(auth: RegistryAuth): Promise<{ status: string; identityToken: string }>;
  search(
    term: string,
    options: { limit: number; filters: ImageFilters; auth: RegistryAuth | undefined },
  ): Promise<{ name: string; description: string; stars: number; official: boolean }[]>;

  /** A new image from a parent's layers and one more (a committed container). */
  commit(request: {
    readonly parent: Image;
    /** Uncompressed layer archive; undefined for a change of configuration alone. */
    readonly layer: Readable | undefined;
    readonly config: ContainerConfig;
    readonly history: HistoryEntry;
    readonly author: string;
    readonly repository: string;
    readonly tag: string;
  }): Promise<Digest>;
  /** Applies Dockerfile instructions (CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME, WORKDIR, HEALTHCHECK) to a configuration. */
  applyChanges<C extends ProcessConfig>(config: C, changes: readonly string[]): C;
  /** Who uses an image: asked before removal. Set by the composition root. */
  useGuard(guard: (imageId: Digest) => { id: string; running: boolean } | undefined): void;
  /**
   * Unpacks an image that is kept for one storage driver for another one, and lets the first go. False when it is not kept for the first.
   * Cut off in between it is kept for both.
   */
  migrate(id: Digest, from: string, to: string): Promise<boolean>;
  usage(): Promise<{ layersSize: number; images: { image: Image; sharedSize: number }[] }>;
}
