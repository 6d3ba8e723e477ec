/** A block device by its numbers, and its size. */
export interface BlockDevice {
  readonly major: number;
  readonly minor: number;
  readonly bytes: number;
}

/** One line of a device's table: which target serves which sectors (of 512 bytes), in the target's own words. */
export interface DeviceTarget {
  readonly type: string;
  readonly start: number;
  readonly length: number;
  readonly params: string;
}

/** What the kernel says of a mapped device. */
export interface DeviceInfo {
  readonly major: number;
  readonly minor: number;
  readonly openCount: number;
  readonly suspended: boolean;
  /** It goes when nobody has it open any more. */
  readonly removalDeferred: boolean;
}

/** The kernel's device-mapper. Nothing appears below /dev: who opens a device makes a node for it. */
export interface HostDevices {
  /** Version of the kernel's interface; ENODEV without device-mapper. */
  version(): Promise<string>;
  /** Makes and activates a device; EBUSY when one has the name. */
  create(name: string, uuid: string, table: readonly DeviceTarget[]): Promise<DeviceInfo>;
  /** Absent is fine. One that is open is EBUSY, unless `deferred` leaves it to the kernel to remove it when it is closed. */
  remove(name: string, options: { deferred: boolean }): Promise<void>;
  /** Takes back a removal that was deferred. */
  cancelRemoval(name: string): Promise<void>;
  /** Nothing when there is none. */
  info(name: string): Promise<DeviceInfo | undefined>;
  /** The table with each target's state in place of its parameters. */
  status(name: string): Promise<DeviceTarget[]>;
  /** To the target of the first sector. */
  message(name: string, message: string): Promise<void>;
  /** Holds back writes, with the file system on it in a state that is whole. */
  suspend(name: string): Promise<void>;
  resume(name: string): Promise<void>;
  /** Names that begin so. */
  list(prefix: string): Promise<string[]>;

  /**
   * Makes a file into a block device that ends by itself when nobody has it open; `fd`, which the caller closes, holds it until then. A
   * file that is one already is not attached twice.
   */
  attachLoop(file: string): Promise<BlockDevice & { readonly fd: number }>;
  /** ENOTBLK when the path is none. */
  blockDevice(path: string): Promise<BlockDevice>;
  /** A node for a device, mode 0600, in place of what is at the path. */
  makeNode(path: string, major: number, minor: number): Promise<void>;

  /**
   * Grows the ext4 or xfs that is mounted, writable, at `tree` to `bytes`, which its device has; as large already is fine. For ext4 the
   * kernel wants CAP_SYS_RESOURCE, else EPERM.
   */
  growFileSystem(tree: string, bytes: number): Promise<void>;
}
