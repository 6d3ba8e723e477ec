import { createHash } from 'node:crypto';
import { invalid, unavailable } from '@gantry/core/contracts/errors.js';
import type { DriverEnv } from '@gantry/core/contracts/manifest.js';

/** Numbers below are for people: `/etc/projects` and other engines count from 1. */
const FIRST = 0x4000_0000;
/** And where a daemon's search begins differs by its instance, so that two on one file system do not look at the same numbers. */
const SPREAD = 0x0fff_ffff;

/** What a mount writes is a few blocks, but xfs wants many more free before it makes a folder. A container that fills this each time it is started gets no further than the second figure. */
const ROOM = 1024 * 1024;
const MOST_ROOM = 16 * 1024 * 1024;

/**
 * Limits of folders by the project quota of ext4 and xfs. Each limited folder, with all that is made in it, is a project of its own,
 * whose number the file system keeps; nothing else does.
 */
export class ProjectQuota {
  private next: number;
  private readonly taken = new Set<number>();

  constructor(private readonly env: Pick<DriverEnv, 'root' | 'host' | 'instance'>) {
    const hash = createHash('sha256').update(`${env.instance} ${env.root}`).digest().readUInt32BE();
    this.next = FIRST + (hash & SPREAD);
  }

  /** Why nothing can be limited here; nothing when it can. */
  private refusal(): Promise<string | undefined> {
    return this.env.host.projects.refusal(this.env.root);
  }

  /** Refuses with `invalid-parameter`, naming what was asked for, where nothing can be limited. */
  async require(what: string): Promise<void> {
    const refusal = await this.refusal();
    if (refusal !== undefined) throw invalid(`${what} cannot be kept in ${this.env.root}: ${refusal}`);
  }

  /** Makes the folders one project: what comes into them from now on counts. Gives back its number. */
  async assign(folders: readonly string[]): Promise<number> {
    const { projects } = this.env.host;
    const project = await this.free();
    try {
      for (const folder of folders) await projects.assign(folder, project);
      return project;
    } catch (error) {
      this.taken.delete(project);
      throw error;
    }
  }

  /** Limits what comes into the project's folders beyond what is there already. */
  async limit(project: number, bytes: number): Promise<void> {
    const { projects } = this.env.host;
    const { bytes: before } = await projects.usage(this.env.root, project);
    await projects.limit(this.env.root, project, before + bytes);
    // From here on the file system knows that it is used.
    this.taken.delete(project);
  }

  /**
   * Leaves room for what a mount itself must write into a folder whose project is full: overlayfs makes its work folder anew each time, and
   * where it cannot the mount is read-only. `quota` is what the folder was limited to; what was given beyond it ends with the next call.
   */
  async makeRoom(folder: string, quota: number): Promise<void> {
    const { projects } = this.env.host;
    const project = await projects.of(folder);
    const { bytes } = await projects.usage(this.env.root, project);
    if (bytes > quota + MOST_ROOM) throw unavailable(`all that may be written below ${folder} is used up, and more`);
    await projects.limit(this.env.root, project, Math.max(quota, bytes + ROOM));
  }

  /** Takes the limit of a folder away, before the folder is removed. Without a limit, or absent, it is fine. */
  async release(folder: string): Promise<void> {
    const { projects } = this.env.host;
    let project: number;
    try {
      project = await projects.of(folder);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
      throw error;
    }
    // Other projects are the administrator's: a limit for the whole data root, say.
    if (project >= FIRST && project <= FIRST + 2 * SPREAD) await projects.limit(this.env.root, project, 0);
  }

  private async free(): Promise<number> {
    for (;;) {
      const project = this.next++;
      if (this.taken.has(project)) continue;
      // Before the first wait: another caller must not come to the same number.
      this.taken.add(project);
      const { bytes, files, limit } = await this.env.host.projects.usage(this.env.root, project);
      if (bytes === 0 && files === 0 && limit === 0) return project;
      this.taken.delete(project);
    }
  }
}
