import type { IngestResult } from '@gantry/core/contracts/host-files.js';
import type { HostProjects, HostSubvolumes } from '@gantry/core/contracts/host-storage.js';
import type { Change } from '@gantry/core/contracts/storage.js';
import { addon } from './addon.js';
import { blamed } from './blamed.js';

/** The addon's own signatures, in the order of binding/storage.cc. */
interface StorageCalls {
  createSubvolume(path: string): Promise<void>;
  snapshotSubvolume(from: string, to: string, readOnly: boolean): Promise<void>;
  removeSubvolume(path: string): Promise<void>;
  hasInnerSubvolumes(path: string): Promise<boolean>;
  enableSubvolumeQuotas(path: string): Promise<void>;
  limitSubvolume(path: string, bytes: number): Promise<void>;
  branchedAt(tree: string, parent: string): Promise<number | undefined>;
  packSnapshots(tree: string, parent: string, since: number, fd: number): Promise<IngestResult>;
  changesSnapshots(tree: string, parent: string, since: number): Promise<Change[]>;
  sizeSnapshots(tree: string, parent: string, since: number): Promise<number>;
  projectQuotaRefusal(path: string): Promise<string | undefined>;
  setProject(path: string, project: number): Promise<void>;
  projectOf(path: string): Promise<number>;
  limitProject(path: string, project: number, bytes: number): Promise<void>;
  projectUsage(path: string, project: number): Promise<{ bytes: number; files: number; limit: number }>;
}

const calls = addon() as unknown as StorageCalls;

export const subvolumes: HostSubvolumes = {
  create: (path) => calls.createSubvolume(path),
  snapshot: (from, to, { readOnly }) => calls.snapshotSubvolume(from, to, readOnly),
  remove: (path) => calls.removeSubvolume(path),
  hasInner: (path) => calls.hasInnerSubvolumes(path),
  enableQuotas: (path) => calls.enableSubvolumeQuotas(path),
  limit: (path, bytes) => calls.limitSubvolume(path, bytes),
  branchedAt: (tree, parent) => calls.branchedAt(tree, parent),
  packDiff: ({ tree, parent, since, fd }) => blamed(calls.packSnapshots(tree, parent, since, fd)),
  changes: ({ tree, parent, since }) => blamed(calls.changesSnapshots(tree, parent, since)),
  sizeDiff: ({ tree, parent, since }) => blamed(calls.sizeSnapshots(tree, parent, since)),
};

export const projects: HostProjects = {
  refusal: (path) => calls.projectQuotaRefusal(path),
  assign: (path, project) => calls.setProject(path, project),
  of: (path) => calls.projectOf(path),
  limit: (path, project, bytes) => calls.limitProject(path, project, bytes),
  usage: (path, project) => calls.projectUsage(path, project),
};
