import type { Change, AppliedLayer } from './storage.js';
import type { Mount } from './mount.js';

export type Compression = 'none' | 'gzip' | 'zstd';

/** How whiteouts in a layer archive become files in a tree. */
export type WhiteoutStyle =
  /** overlayfs: character device 0:0 and the opaque xattr. */
  | 'overlay'
  /** The same with the xattr that overlayfs uses when it is mounted with `userxattr`, as inside a user namespace. */
  | 'overlay-user'
  /** The target already holds the parent's content, and what is whited out is deleted from it. */
  | 'delete';

export interface UnpackOptions {
  /** Folder to fill. Nothing is ever written outside it. */
  readonly target: string;
  /** Read to its end from the current position; compression is sniffed. */
  readonly fd: number;
  readonly whiteouts: WhiteoutStyle;
  /** Absent ones have the addon's defaults, which no honest layer reaches. */
  readonly limits?: ArchiveLimits;
}

/** What an archive may ask for before it is refused with `invalid-parameter`. */
export interface ArchiveLimits {
  readonly entries?: number;
  /** Bytes after decompression; the size of a sparse file counts whole. */
  readonly bytes?: number;
  /** Bytes after decompression for each byte before it, looked at once 4 GiB came out. */
  readonly ratio?: number;
}

/** A path's own properties, links not followed. */
export interface PathStat {
  readonly name: string;
  readonly size: number;
  /** st_mode as the kernel has it. */
  readonly mode: number;
  readonly mtimeMs: number;
  /** Where a symbolic link leads in the end, as an absolute path inside the root; '' for everything else. */
  readonly linkTarget: string;
}

export interface IngestResult {
  readonly digest: string;
  readonly size: number;
}

export interface HostFiles {
  /** mount(2), options in mount(8)'s words. `target` must exist. Order of bind, remount and propagation is taken care of. */
  mount(mount: Mount, target: string): Promise<void>;
  /** umount2; a target that is no mount point succeeds. `lazy` is MNT_DETACH. */
  unmount(target: string, lazy?: boolean): Promise<void>;
  /** Mount points of this process' mount namespace at or below `path`, deepest first. Read-only and quick. */
  mountsBelow(path: string): { target: string; type: string; source: string }[];
  /** Which file system holds `path`: the name as in /proc/filesystems (`ext4`, `xfs`, `btrfs`, `tmpfs`, `overlay`), free and total bytes. */
  fileSystem(path: string): Promise<{ type: string; free: number; total: number }>;

  /** Removes a tree whatever its size, by descriptor, never crossing into a mount, never following a link. Absent is fine. */
  removeTree(path: string): Promise<void>;
  /** Copies a tree with ownership, times, xattrs, hard links, devices and holes; reflinks where the file system can. `to` exists and is empty. */
  copyTree(from: string, to: string): Promise<void>;
  /** Bytes of files (hard links once) below `path`, one file system only. */
  treeSize(path: string): Promise<number>;
  /** syncfs(2) of the file system that holds `path`. */
  sync(path: string): Promise<void>;
  setXattr(path: string, name: string, value: Buffer): Promise<void>;
  getXattr(path: string, name: string): Promise<Buffer | undefined>;

  /** Reads `fd`, inflates, hashes and writes the tree as one pipeline. */
  unpack(options: UnpackOptions): Promise<AppliedLayer>;
  /**
   * Reads `fd` to its end into the file `path` (made new, synced), hashing on the way. Fails past `limit` bytes.
   * `tee`, the writing end of a pipe, gets the same bytes at its reader's pace, which holds up nothing else and may go on after this
   * resolved. It is closed after the last byte, and earlier when this fails; from the call on it is not the caller's any more.
   */
  ingest(options: { fd: number; path: string; limit?: number; tee?: number }): Promise<IngestResult>;
  /** Digest and size of what `fd` gives after decompression; nothing is written. */
  hashUncompressed(fd: number): Promise<IngestResult>;
  /** Writes what `from` holds after decompression (gzip, zstd, bzip2, xz, or none) into `to`. Both stay open. */
  decompress(options: { from: number; to: number }): Promise<void>;
  /** Compresses `from` into `to`, hashing both sides. Descriptors stay open. */
  compress(options: {
    from: number;
    to: number;
    compression: Compression;
  }): Promise<{ compressed: IngestResult; uncompressed: IngestResult }>;

  /** Layer archive of an overlay upper folder into `fd`: overlay's whiteouts become archive whiteouts, holes stay holes. Stable order. */
  packUpper(options: { upper: string; lowers: readonly string[]; fd: number; userXattr?: boolean }): Promise<IngestResult>;
  /**
   * Layer archive of what differs in `tree` from `parent` (whole tree when absent), by comparison. Stable order. Files with the same
   * properties, time and size among them, are taken for the same unless `byContent` compares their bytes. With `holes` sparse files are
   * written as such, which not every tar reads; with `exactTimes` times are more than whole seconds, which Docker's layers do not have.
   */
  packDiff(options: {
    tree: string;
    parent?: string;
    fd: number;
    byContent?: boolean;
    holes?: boolean;
    exactTimes?: boolean;
  }): Promise<IngestResult>;
  changesUpper(options: { upper: string; lowers: readonly string[]; userXattr?: boolean }): Promise<Change[]>;
  changesDiff(options: { tree: string; parent?: string }): Promise<Change[]>;
  /** Bytes of the files in `tree` that are not as they are in `parent`. */
  sizeDiff(options: { tree: string; parent?: string }): Promise<number>;

  /**
   * The calls below take a container's root as an open folder (`rootFd`, O_PATH will do) and a path inside it. The path is
   * resolved as a process in that root would (absolute links stay inside), by openat2(RESOLVE_IN_ROOT) without magic links,
   * and everything after works on descriptors: what the container swaps meanwhile cannot lead outside.
   */
  openRoot(path: string): Promise<number>;
  statIn(rootFd: number, path: string, options: { followLast: boolean }): Promise<PathStat>;
  /** Archive of `path` (its base name, or `rename`, is the first entry) into `fd`. */
  packPath(options: { rootFd: number; path: string; fd: number; rename?: string }): Promise<void>;
  /** Extracts a plain or compressed archive from `fd` into the folder `path`. Ownership is what the archive says, or `owner` for everything when given. */
  unpackInto(options: {
    rootFd: number;
    path: string;
    fd: number;
    noOverwriteDirNonDir: boolean;
    owner?: { uid: number; gid: number };
    limits?: ArchiveLimits;
  }): Promise<void>;
  /** Reads a small file (an /etc/passwd); `undefined` when absent. Fails past `limit` bytes. */
  readFileIn(rootFd: number, path: string, limit: number): Promise<Buffer | undefined>;
  /** Makes a folder and its missing parents, mode 0755 root:root; gives back whether the last one was made. `notDir` as ENOTDIR. */
  makeDirIn(rootFd: number, path: string): Promise<boolean>;
  /** Makes an empty file and its missing parent folders unless something is there. */
  makeFileIn(rootFd: number, path: string): Promise<boolean>;
  /** Makes a symbolic link and its missing parent folders unless something is there. */
  makeLinkIn(rootFd: number, path: string, target: string): Promise<boolean>;
  /** Copies the content of a folder in the root into a host folder that is empty, ownership and mode of the folder itself included: the copy-up of a new volume. False when there is no such folder. */
  copyOutOf(rootFd: number, path: string, to: string): Promise<boolean>;
  /**
   * Shows `source`, with the mounts below it, at `target`, which is made when it is not there. Private: to unmount it is nobody
   * else's business. A missing source is ENOENT.
   */
  bindIn(options: { source: { rootFd: number; path: string }; target: { rootFd: number; path: string }; readOnly: boolean }): Promise<void>;
  /**
   * As {@link bindIn} into another mount namespace: an open file of /proc/PID/ns, and its root, an open /proc/PID/root. `options` are
   * mount(8)'s: `bind` without the mounts below, `ro`, `rro`, a propagation. Inside /proc nothing is mounted.
   */
  bindInto(options: {
    source: { rootFd: number; path: string };
    namespace: number;
    target: { rootFd: number; path: string };
    options: readonly string[];
  }): Promise<void>;
  /** Takes a mount of another mount namespace away; open files in it stay open. `invalid-parameter` when nothing is mounted there. */
  unmountFrom(options: { namespace: number; target: { rootFd: number; path: string } }): Promise<void>;
}
