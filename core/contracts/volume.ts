export interface VolumeInfo {
  readonly name: string;
  /** Host path while it is mounted, or where it would be; '' when the driver cannot tell. */
  readonly mountpoint: string;
  /** RFC 3339, '' when unknown. */
  readonly createdAt: string;
  readonly status?: Record<string, unknown>;
}

/**
 * A volume driver keeps named folders. Verbs and meaning are those of Docker's volume plugin protocol, so
 * that the remote twin keeps no state. The volume service counts references and serialises calls for one name.
 */
export interface VolumeDriver {
  /** `local`: names mean something on this host only; `global`: the same volume on every host. */
  readonly scope: 'local' | 'global';
  /**
   * Making what exists with the driver succeeds. An unknown option is `invalid-parameter`. A driver that knows afterwards what
   * `get` would say gives it back, and is not asked for it then.
   */
  create(name: string, options: Readonly<Record<string, string>>): Promise<VolumeInfo | void>;
  /** `not-found` when absent. */
  get(name: string): Promise<VolumeInfo>;
  list(): Promise<VolumeInfo[]>;
  /** Removing what is absent succeeds; `conflict` while mounted. */
  remove(name: string): Promise<void>;
  /** Makes the content visible and says where. `user` is unique for one use (a container's id); the same user may ask twice. */
  mount(name: string, user: string): Promise<string>;
  /** Ends `user`'s use; ending what never began succeeds. */
  unmount(name: string, user: string): Promise<void>;
  close(): Promise<void>;
}

/** With the capability `volume-usage`. */
export interface VolumeUsage {
  /** Bytes that the content takes, and the limit for it; undefined without one. */
  usage(name: string): Promise<{ readonly size: number; readonly limit?: number }>;
}

/** With the capability `volume-resize`. */
export interface VolumeResize {
  /** Sets what the content may take, mounted or not. Less than it takes now is `conflict`. */
  resize(name: string, bytes: number): Promise<void>;
}

/** With the capability `volume-rename`. */
export interface VolumeRename {
  /** The content and options under another name, from one instant to the next. `conflict` while mounted or when `to` exists. */
  rename(name: string, to: string): Promise<void>;
}

/** With the capability `volume-clone`. */
export interface VolumeClone {
  /** Makes `to`, which does not exist, with the content of `name` and the same options. On failure there is no `to`. */
  clone(name: string, to: string): Promise<void>;
}

/** With the capability `volume-snapshot`. */
export interface VolumeSnapshot {
  /** Makes `to` with the content of `name` as it is at one instant, also while containers write. On failure there is no `to`. */
  snapshot(name: string, to: string): Promise<void>;
}

/** With the capability `volume-archive`. */
export interface VolumeArchive {
  /** The content as an uncompressed tar, its names relative (`./a/b`), into `fd`, which the caller keeps and closes. */
  export(name: string, fd: number): Promise<void>;
  /** Fills the volume, which is empty, from such an archive, plain or compressed, read from `fd` to its end. */
  import(name: string, fd: number): Promise<void>;
}
