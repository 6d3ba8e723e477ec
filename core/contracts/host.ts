import type { HostDevices } from './host-devices.js';
import type { HostFiles } from './host-files.js';
import type { HostLogs } from './host-logs.js';
import type { HostNet } from './host-net.js';
import type { HostProcess } from './host-process.js';
import type { HostProjects, HostSubvolumes } from './host-storage.js';

/**
 * The system calls that the engine needs beyond Node's own. The real one is native/index.ts, a fake is test/fakes/host.ts.
 * Calls that can take longer than some 50 µs are promises and run off the event loop, outside libuv's thread pool where a
 * user's path can block them. Failures are Error objects with `code`, `syscall` and `path`, as Node's own.
 */
export interface Host {
  /** Device-mapper. A part of its own, loaded when first called; throws where the build was made without it. */
  devices?(): HostDevices;
  readonly files: HostFiles;
  readonly logs: HostLogs;
  readonly net: HostNet;
  readonly process: HostProcess;
  readonly projects: HostProjects;
  readonly subvolumes: HostSubvolumes;
}
