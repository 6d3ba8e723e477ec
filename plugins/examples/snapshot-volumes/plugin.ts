import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { conflict, notFound, PluginError, unknownOption, type Volume, type VolumePlugin } from '../../sdk/index.js';

interface Kept {
  readonly created: string;
  /** The volume that it was copied from. */
  readonly source?: string;
  /** A snapshot is mounted for reading what was, so nothing is copied from it into running use by accident. */
  readonly snapshot: boolean;
  mounts: number;
}

const run = promisify(execFile);
const OPTIONS = ['clone-of', 'snapshot-of'];

/**
 * Volumes that are folders, and copies of them: `-o snapshot-of=data` keeps what volume `data` holds now, `-o clone-of=data` goes on from
 * it (also from a snapshot). On btrfs and XFS a copy shares its blocks with the original and takes no time.
 */
export class SnapshotVolumes implements VolumePlugin {
  private readonly volumes: Record<string, Kept>;

  constructor(private readonly root: string) {
    mkdirSync(root, { recursive: true });
    this.volumes = existsSync(this.file) ? (JSON.parse(readFileSync(this.file, 'utf8')) as Record<string, Kept>) : {};
  }

  async create(name: string, options: Readonly<Record<string, string>>): Promise<void> {
    for (const option of Object.keys(options)) if (!OPTIONS.includes(option)) throw unknownOption(option, OPTIONS);
    if (this.volumes[name]) return;
    const source = options['snapshot-of'] ?? options['clone-of'];
    if (source !== undefined) this.known(source);
    const fresh = `${this.place(name)}.new`;
    rmSync(fresh, { recursive: true, force: true });
    if (source === undefined) mkdirSync(fresh);
    else await run('cp', ['-a', '--reflink=auto', this.place(source), fresh]);
    // Of two calls at the same time the second finds the first one's volume.
    if (this.volumes[name]) return rmSync(fresh, { recursive: true, force: true });
    renameSync(fresh, this.place(name));
    const snapshot = options['snapshot-of'] !== undefined;
    this.volumes[name] = { created: new Date().toISOString(), snapshot, mounts: 0, ...(source !== undefined && { source }) };
    this.save();
  }

  get(name: string): Volume {
    const { created, mounts, snapshot, source } = this.known(name);
    const kind = snapshot ? 'snapshot' : 'volume';
    return {
      name,
      mountpoint: mounts > 0 ? this.place(name) : '',
      createdAt: created,
      status: { kind, mounts, ...(source && { source }) },
    };
  }

  list(): Volume[] {
    return Object.keys(this.volumes).map((name) => this.get(name));
  }

  remove(name: string): void {
    const volume = this.volumes[name];
    if (!volume) return;
    if (volume.mounts > 0) throw conflict(`volume ${name} is mounted`);
    delete this.volumes[name];
    this.save();
    rmSync(this.place(name), { recursive: true, force: true });
  }

  mount(name: string): string {
    const volume = this.known(name);
    if (volume.snapshot) throw new PluginError('forbidden', `${name} is a snapshot: make a volume of it with -o clone-of=${name}`);
    volume.mounts++;
    this.save();
    return this.place(name);
  }

  unmount(name: string): void {
    const volume = this.volumes[name];
    if (!volume || volume.mounts === 0) return;
    volume.mounts--;
    this.save();
  }

  private known(name: string): Kept {
    const volume = this.volumes[name];
    if (!volume) throw notFound('volume', name);
    return volume;
  }

  private place(name: string): string {
    return join(this.root, `volume-${name}`);
  }

  private get file(): string {
    return join(this.root, 'volumes.json');
  }

  /** Before a call is answered: whoever restarts this plugin finds what was promised. */
  private save(): void {
    writeFileSync(`${this.file}.new`, JSON.stringify(this.volumes));
    renameSync(`${this.file}.new`, this.file);
  }
}
