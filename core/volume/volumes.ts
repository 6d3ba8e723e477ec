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
  /** '' for local. */
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
  /** True when nothing was ever put in: a copy-up is due. */
  isEmpty(name: string, containerId: string): Promise<boolean>;
  usage(name: string): Promise<{ size: number; references: number }>;
  /** At daemon start, once it is known which containers there are: drops the references of all others, and anonymous volumes that only a cut-off create had made. */
  settle(containers: ReadonlySet<string>): Promise<void>;
}
