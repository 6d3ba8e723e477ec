import { mkdirSync, writeFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Settings } from '../system/settings.js';
import type { OciSpec } from './oci-spec.js';

/** Where a container's files are. All follow from its id, so that what a crash left can be found. */
export class ContainerPaths {
  constructor(private readonly settings: Pick<Settings, 'dataRoot' | 'execRoot'>) {}

  /** Holds the bundles of containers that run; on tmpfs. */
  get bundles(): string {
    return join(this.settings.execRoot, 'containers');
  }

  get folders(): string {
    return join(this.settings.dataRoot, 'containers');
  }

  bundle(id: string): string {
    return join(this.bundles, id);
  }

  /** Where the root file system is mounted while it runs, or while files are copied. */
  rootfs(id: string): string {
    return join(this.bundle(id), 'rootfs');
  }

  /** /dev/shm of a container that shares its IPC namespace. */
  shm(id: string): string {
    return join(this.bundle(id), 'shm');
  }

  /** Kept until the container is removed: its log and name files. */
  folder(id: string): string {
    return join(this.folders, id);
  }

  /** The shim's: exit status. */
  task(id: string): string {
    return join(this.folder(id), 'task');
  }

  hostname(id: string): string {
    return join(this.folder(id), 'hostname');
  }

  hosts(id: string): string {
    return join(this.folder(id), 'hosts');
  }

  resolvConf(id: string): string {
    return join(this.folder(id), 'resolv.conf');
  }

  /** At once: two short system calls, where three hops through the thread pool would take longer. */
  makeBundle(id: string): void {
    mkdirSync(this.rootfs(id), { recursive: true, mode: 0o700 });
  }

  makeFolder(id: string): void {
    mkdirSync(this.task(id), { recursive: true, mode: 0o700 });
  }

  /** At once, as the bundle: its file system is in memory. */
  writeSpec(id: string, spec: OciSpec): void {
    writeFileSync(join(this.bundle(id), 'config.json'), JSON.stringify(spec), { mode: 0o600 });
  }

  /** In place, not by rename: they are bind mounts in a running container, which would go on seeing the old file. */
  async writeNameFiles(id: string, files: { hostname?: string; hosts?: string; resolvConf?: string }): Promise<void> {
    const write = (path: string, content: string | undefined): Promise<void> =>
      content === undefined ? Promise.resolve() : writeFile(path, content, { mode: 0o644 });
    await Promise.all([
      write(this.hostname(id), files.hostname),
      write(this.hosts(id), files.hosts),
      write(this.resolvConf(id), files.resolvConf),
    ]);
  }
}
