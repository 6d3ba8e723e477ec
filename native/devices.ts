import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { BlockDevice, DeviceInfo, DeviceTarget, HostDevices } from '@gantry/core/contracts/host-devices.js';
import { packageRoot } from './addon.js';

/** The addon's own signatures, in the order of devicemapper/addon.cc. */
interface DeviceCalls {
  version(): Promise<string>;
  create(name: string, uuid: string, targets: number, ...table: (string | number)[]): Promise<DeviceInfo>;
  remove(name: string, deferred: boolean): Promise<void>;
  cancelRemoval(name: string): Promise<void>;
  info(name: string): Promise<DeviceInfo | undefined>;
  status(name: string): Promise<DeviceTarget[]>;
  message(name: string, message: string): Promise<void>;
  suspend(name: string): Promise<void>;
  resume(name: string): Promise<void>;
  list(prefix: string): Promise<string[]>;
  attachLoop(file: string): Promise<BlockDevice & { readonly fd: number }>;
  blockDevice(path: string): Promise<BlockDevice>;
  makeNode(path: string, major: number, minor: number): Promise<void>;
  growFileSystem(tree: string, bytes: number): Promise<void>;
}

/** An addon of its own, which needs libdevmapper and is loaded when something first asks for it. Throws where the build has none. */
export function loadDevices(): HostDevices {
  const calls = createRequire(import.meta.url)(join(packageRoot, 'build', 'Release', 'devicemapper.node')) as DeviceCalls;
  return {
    version: () => calls.version(),
    create: (name, uuid, table) =>
      calls.create(name, uuid, table.length, ...table.flatMap(({ type, start, length, params }) => [type, start, length, params])),
    remove: (name, { deferred }) => calls.remove(name, deferred),
    cancelRemoval: (name) => calls.cancelRemoval(name),
    info: (name) => calls.info(name),
    status: (name) => calls.status(name),
    message: (name, message) => calls.message(name, message),
    suspend: (name) => calls.suspend(name),
    resume: (name) => calls.resume(name),
    list: (prefix) => calls.list(prefix),
    attachLoop: (file) => calls.attachLoop(file),
    blockDevice: (path) => calls.blockDevice(path),
    makeNode: (path, major, minor) => calls.makeNode(path, major, minor),
    growFileSystem: (tree, bytes) => calls.growFileSystem(tree, bytes),
  };
}
