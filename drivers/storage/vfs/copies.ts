import { chmodSync, mkdirSync } from 'node:fs';
import type { Readable } from 'node:stream';
import type { DriverEnv } from '@gantry/core/contracts/manifest.js';
import type { Change } from '@gantry/core/contracts/storage.js';
import { archiveStream } from '../archive-stream.js';
import { backingName } from '../backing.js';
import type { ProjectQuota } from '../../project-quota.js';
import type { TreeKeeper, TreePair } from '../tree-driver.js';

/** Trees that are copies, file by file; blocks are shared where the file system can. */
export class Copies implements TreeKeeper {
  constructor(
    private readonly env: DriverEnv,
    private readonly quotas: ProjectQuota,
  ) {}

  async make(tree: string, from: string | undefined, quota: number | undefined): Promise<void> {
    if (quota !== undefined) await this.quotas.require('a limit for the size of a container');
    mkdirSync(tree);
    // Whatever the daemon's umask is.
    chmodSync(tree, 0o755);
    // Before the copy, which counts as there already: folders give their project on only to what is made in them.
    const project = quota === undefined ? undefined : await this.quotas.assign([tree]);
    if (from !== undefined) await this.env.host.files.copyTree(from, tree);
    if (project !== undefined && quota !== undefined) await this.quotas.limit(project, quota);
  }

  async remove(tree: string): Promise<void> {
    await this.quotas.release(tree);
    await this.env.host.files.removeTree(tree);
  }

  async diff(pair: TreePair): Promise<Readable> {
    return archiveStream(this.env.host, (fd) => this.env.host.files.packDiff({ ...pair, fd, holes: true }));
  }

  changes(pair: TreePair): Promise<Change[]> {
    return this.env.host.files.changesDiff(pair);
  }

  size(pair: TreePair): Promise<number> {
    return this.env.host.files.sizeDiff(pair);
  }

  async status(): Promise<[string, string][]> {
    const { type } = await this.env.host.files.fileSystem(this.env.root);
    return [['Backing Filesystem', backingName(type)]];
  }
}
