/**
 * One mount as a value. Drivers return these and the caller mounts, so that most of a driver can be
 * tested without root. The words are mount(8)'s.
 */
export interface Mount {
  /** File system type (`overlay`, `tmpfs`, `ext4` …), or `bind`. */
  readonly type: string;
  /** Device, folder (for `bind`) or the file system's own word. */
  readonly source: string;
  /** Flags and file-system data, each as mount(8) spells it: `ro`, `nosuid`, `rbind`, `lowerdir=…`. */
  readonly options: readonly string[];
}

/** The same mount for somebody who only looks: nothing can be written through it, and what unmounts it need not wait for the disk. */
export const readOnlyMount = (mount: Mount): Mount => ({ ...mount, options: [...mount.options.filter((option) => option !== 'rw'), 'ro'] });
