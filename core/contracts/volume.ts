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
  /** Making what exists with the driver succeeds. An unknown option is `invalid-parameter`. */
  create(name: string, options: Readonly<Record<string, string>>): Promise<void>;
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
