import type { ArchiveLimits, Compression, HostFiles, IngestResult, PathStat } from '@gantry/core/contracts/host-files.js';
import type { AppliedLayer, Change } from '@gantry/core/contracts/storage.js';
import { addon } from './addon.js';
import { blamed } from './blamed.js';

/** The addon's own signatures: positions instead of names, in the order of binding/files.cc and binding/archives.cc. */
interface FileCalls {
  mount(type: string, source: string, options: readonly string[], target: string): Promise<void>;
  unmount(target: string, lazy: boolean): Promise<void>;
  mountsBelow(path: string): { target: string; type: string; source: string }[];
  fileSystem(path: string): Promise<{ type: string; free: number; total: number }>;
  removeTree(path: string): Promise<void>;
  copyTree(from: string, to: string): Promise<void>;
  treeSize(path: string): Promise<number>;
  sync(path: string): Promise<void>;
  setXattr(path: string, name: string, value: Buffer): Promise<void>;
  getXattr(path: string, name: string): Promise<Buffer | undefined>;
  unpack(target: string, fd: number, whiteouts: string, ...limits: Limits): Promise<AppliedLayer>;
  ingest(fd: number, path: string, limit: number | undefined, tee: number): Promise<IngestResult>;
  hashUncompressed(fd: number): Promise<IngestResult>;
  decompress(from: number, to: number): Promise<void>;
  compress(from: number, to: number, compression: Compression): Promise<{ compressed: IngestResult; uncompressed: IngestResult }>;
  packUpper(upper: string, lowers: readonly string[], fd: number, userXattr: boolean): Promise<IngestResult>;
  packDiff(
    tree: string,
    parent: string | undefined,
    fd: number,
    byContent: boolean,
    holes: boolean,
    exactTimes: boolean,
  ): Promise<IngestResult>;
  changesUpper(upper: string, lowers: readonly string[], userXattr: boolean): Promise<Change[]>;
  changesDiff(tree: string, parent: string | undefined): Promise<Change[]>;
  sizeDiff(tree: string, parent: string | undefined): Promise<number>;
  openRoot(path: string): Promise<number>;
  statIn(rootFd: number, path: string, followLast: boolean): Promise<PathStat>;
  packPath(rootFd: number, path: string, fd: number, rename: string | undefined): Promise<void>;
  unpackInto(
    rootFd: number,
    path: string,
    fd: number,
    noOverwriteDirNonDir: boolean,
    uid: number | undefined,
    gid: number | undefined,
    ...limits: Limits
  ): Promise<void>;
  readFileIn(rootFd: number, path: string, limit: number): Promise<Buffer | undefined>;
  makeDirIn(rootFd: number, path: string): Promise<boolean>;
  makeFileIn(rootFd: number, path: string): Promise<boolean>;
  makeLinkIn(rootFd: number, path: string, target: string): Promise<boolean>;
  copyOutOf(rootFd: number, path: string, to: string): Promise<boolean>;
  bindInto(
    sourceRoot: number,
    source: string,
    namespace: number,
    targetRoot: number,
    target: string,
    options: readonly string[],
  ): Promise<void>;
  unmountFrom(namespace: number, targetRoot: number, target: string): Promise<void>;
  bindIn(sourceRoot: number, source: string, targetRoot: number, target: string, readOnly: boolean): Promise<void>;
}

type Limits = [entries: number | undefined, bytes: number | undefined, ratio: number | undefined];

const limitsOf = (limits: ArchiveLimits | undefined): Limits => [limits?.entries, limits?.bytes, limits?.ratio];

const calls = addon() as unknown as FileCalls;

export const files: HostFiles = {
  mount: (mount, target) => blamed(calls.mount(mount.type, mount.source, mount.options, target)),
  unmount: (target, lazy = false) => calls.unmount(target, lazy),
  mountsBelow: (path) => calls.mountsBelow(path),
  fileSystem: (path) => calls.fileSystem(path),

  removeTree: (path) => calls.removeTree(path),
  copyTree: (from, to) => calls.copyTree(from, to),
  treeSize: (path) => calls.treeSize(path),
  sync: (path) => calls.sync(path),
  setXattr: (path, name, value) => calls.setXattr(path, name, value),
  getXattr: (path, name) => calls.getXattr(path, name),

  unpack: ({ target, fd, whiteouts, limits }) => blamed(calls.unpack(target, fd, whiteouts, ...limitsOf(limits))),
  ingest: ({ fd, path, limit, tee = -1 }) => blamed(calls.ingest(fd, path, limit, tee)),
  hashUncompressed: (fd) => blamed(calls.hashUncompressed(fd)),
  decompress: ({ from, to }) => blamed(calls.decompress(from, to)),
  compress: ({ from, to, compression }) => blamed(calls.compress(from, to, compression)),

  packUpper: ({ upper, lowers, fd, userXattr = false }) => blamed(calls.packUpper(upper, lowers, fd, userXattr)),
  packDiff: ({ tree, parent, fd, byContent = false, holes = false, exactTimes = false }) =>
    blamed(calls.packDiff(tree, parent, fd, byContent, holes, exactTimes)),
  changesUpper: ({ upper, lowers, userXattr = false }) => blamed(calls.changesUpper(upper, lowers, userXattr)),
  changesDiff: ({ tree, parent }) => blamed(calls.changesDiff(tree, parent)),
  sizeDiff: ({ tree, parent }) => blamed(calls.sizeDiff(tree, parent)),

  openRoot: (path) => calls.openRoot(path),
  statIn: (rootFd, path, { followLast }) => calls.statIn(rootFd, path, followLast),
  packPath: ({ rootFd, path, fd, rename }) => blamed(calls.packPath(rootFd, path, fd, rename)),
  unpackInto: ({ rootFd, path, fd, noOverwriteDirNonDir, owner, limits }) =>
    blamed(calls.unpackInto(rootFd, path, fd, noOverwriteDirNonDir, owner?.uid, owner?.gid, ...limitsOf(limits))),
  readFileIn: (rootFd, path, limit) => blamed(calls.readFileIn(rootFd, path, limit)),
  makeDirIn: (rootFd, path) => calls.makeDirIn(rootFd, path),
  makeFileIn: (rootFd, path) => calls.makeFileIn(rootFd, path),
  makeLinkIn: (rootFd, path, target) => calls.makeLinkIn(rootFd, path, target),
  copyOutOf: (rootFd, path, to) => calls.copyOutOf(rootFd, path, to),
  bindInto: ({ source, namespace, target, options }) =>
    blamed(calls.bindInto(source.rootFd, source.path, namespace, target.rootFd, target.path, options)),
  unmountFrom: ({ namespace, target }) => blamed(calls.unmountFrom(namespace, target.rootFd, target.path)),
  bindIn: ({ source, target, readOnly }) => calls.bindIn(source.rootFd, source.path, target.rootFd, target.path, readOnly),
};
