import type { Change } from './storage.js';
import type { IngestResult } from './host-files.js';

/** Subvolumes of btrfs, by ioctl. A subvolume is a folder that can be copied as a whole at no cost. */
export interface HostSubvolumes {
  /** Makes an empty one, in a folder that exists. */
  create(path: string): Promise<void>;
  /** Makes `to` a copy of the subvolume `from` as it is now. Subvolumes inside `from` are empty folders in it. */
  snapshot(from: string, to: string, options: { readOnly: boolean }): Promise<void>;
  /** Deletes it with all subvolumes that were made inside it. Absent is fine; what is no subvolume is EINVAL. */
  remove(path: string): Promise<void>;
  /** Whether there are others inside it. */
  hasInner(path: string): Promise<boolean>;
  /** Switches quotas on for the whole file system when they are off, and waits until they hold. */
  enableQuotas(path: string): Promise<void>;
  /** Limits the bytes that it holds and shares with no other. Past it a writer gets EDQUOT. Quotas are on. */
  limit(path: string, bytes: number): Promise<void>;

  /** The file system's transaction in which `tree` was made as a snapshot of `parent`; nothing when it was not. */
  branchedAt(tree: string, parent: string): Promise<number | undefined>;
  /**
   * The three calls below are HostFiles' `packDiff`, `changesDiff` and `sizeDiff` for a snapshot and what it came from. They read only
   * what was written since; holes stay holes. `tree` is a read-only snapshot, made just now, of the one that branched from `parent` in transaction `since`.
   */
  packDiff(options: BranchedTrees & { fd: number }): Promise<IngestResult>;
  changes(options: BranchedTrees): Promise<Change[]>;
  sizeDiff(options: BranchedTrees): Promise<number>;
}

/** A snapshot and what it came from. */
export interface BranchedTrees {
  readonly tree: string;
  readonly parent: string;
  readonly since: number;
}

/** Project quotas of ext4 and xfs: the files of one project, a number that new files take from their folder, share a limit. */
export interface HostProjects {
  /** Why no project is limited on the file system that holds `path`; nothing when they are. */
  refusal(path: string): Promise<string | undefined>;
  /** Gives a folder, and whatever is made in it from now on, to a project. */
  assign(path: string, project: number): Promise<void>;
  /** 0 when it has none. */
  of(path: string): Promise<number>;
  /** Limits the bytes that a project's files take on the file system of `path`; 0 ends the limit. */
  limit(path: string, project: number, bytes: number): Promise<void>;
  /** What a project's files take on disk, how many they are, and their limit in bytes. All 0: nobody uses the number. */
  usage(path: string, project: number): Promise<{ bytes: number; files: number; limit: number }>;
}
