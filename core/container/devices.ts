import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { EngineError } from '../contracts/errors.js';
import type { Host } from '../contracts/host.js';
import type { DeviceRequest, HostConfig } from './container.js';
import type { OciDevice, OciDeviceRule } from './oci-spec.js';

const TYPE_MASK = 0o170000;
const CHARACTER = 0o020000;
const BLOCK = 0o060000;
const FOLDER = 0o040000;

/** Devices to make in a container and what its cgroup lets it do with them. */
export interface ResolvedDevices {
  readonly devices: readonly OciDevice[];
  readonly rules: readonly OciDeviceRule[];
}

/** Linux' split of st_rdev. */
const majorOf = (rdev: number): number => Number(((BigInt(rdev) >> 8n) & 0xfffn) | ((BigInt(rdev) >> 32n) & 0xfffff000n));
const minorOf = (rdev: number): number => Number((BigInt(rdev) & 0xffn) | ((BigInt(rdev) >> 12n) & 0xffffff00n));

/** One device node, links followed; `undefined` when the path is no device. The caller knows that the path is on a file system that answers. */
async function device(pathOnHost: string, pathInContainer: string): Promise<OciDevice | undefined> {
  const found = await stat(pathOnHost);
  const type = (found.mode & TYPE_MASK) === CHARACTER ? 'c' : (found.mode & TYPE_MASK) === BLOCK ? 'b' : undefined;
  if (!type) return undefined;
  return {
    path: pathInContainer,
    type,
    major: majorOf(found.rdev),
    minor: minorOf(found.rdev),
    fileMode: found.mode & 0o7777,
    uid: found.uid,
    gid: found.gid,
  };
}

/** Every device below a folder, as `--privileged` and `--device /dev/snd` need it. What a running system holds of its own is left out. */
async function devicesBelow(folder: string, inContainer: string, skip: ReadonlySet<string> = new Set()): Promise<OciDevice[]> {
  const result: OciDevice[] = [];
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    if (skip.has(entry.name)) continue;
    const [from, to] = [join(folder, entry.name), join(inContainer, entry.name)];
    if (entry.isDirectory()) result.push(...(await devicesBelow(from, to)));
    else if (entry.isCharacterDevice() || entry.isBlockDevice()) {
      // It may be unplugged between the two calls.
      const found = await device(from, to).catch(() => undefined);
      if (found) result.push(found);
    }
  }
  return result;
}

/** Mounts of their own in a container, or meaningless there. */
const NOT_PASSED_ON = new Set(['pts', 'shm', 'fd', 'mqueue', 'console', '.lxc', '.lxd-mounts', '.udev', 'hugepages']);

/** Looks up what a container asked for. A missing device is an error in Docker's words. */
export async function resolveDevices(
  host: Host,
  config: Pick<HostConfig, 'privileged' | 'devices' | 'deviceCgroupRules'>,
): Promise<ResolvedDevices> {
  const rules: OciDeviceRule[] = [];
  const devices: OciDevice[] = [];
  if (config.privileged) {
    devices.push(...(await devicesBelow('/dev', '/dev', NOT_PASSED_ON)));
    return { devices, rules: [{ allow: true, access: 'rwm' }] };
  }
  for (const request of config.devices) {
    for (const found of await requested(host, request)) {
      devices.push(found);
      rules.push({
        allow: true,
        type: found.type === 'b' ? 'b' : 'c',
        major: found.major,
        minor: found.minor,
        access: request.cgroupPermissions || 'rwm',
      });
    }
  }
  for (const rule of config.deviceCgroupRules) {
    const [type, numbers = '', access = ''] = rule.split(' ');
    const [major, minor] = numbers.split(':');
    rules.push({
      allow: true,
      type: type as 'a' | 'b' | 'c',
      ...(major === '*' ? {} : { major: Number(major) }),
      ...(minor === '*' ? {} : { minor: Number(minor) }),
      access,
    });
  }
  return { devices, rules };
}

async function requested(host: Host, request: DeviceRequest): Promise<OciDevice[]> {
  const { pathOnHost } = request;
  const pathInContainer = request.pathInContainer || pathOnHost;
  const gone = (cause?: unknown): EngineError =>
    new EngineError('system', `error gathering device information while adding custom device "${pathOnHost}": no such file or directory`, {
      cause,
    });
  const mode = await modeOf(host, pathOnHost).catch((error: unknown) => {
    throw gone(error);
  });
  if ((mode & TYPE_MASK) === FOLDER) return devicesBelow(pathOnHost, pathInContainer);
  const found = await device(pathOnHost, pathInContainer).catch((error: unknown) => {
    throw gone(error);
  });
  if (!found) {
    throw new EngineError('system', `error gathering device information while adding custom device "${pathOnHost}": not a device node`);
  }
  return [found];
}

/** Mode of a path that a user typed: asked outside Node's pool, which a dead network mount would fill up. */
async function modeOf(host: Host, path: string): Promise<number> {
  const root = await host.files.openRoot('/');
  try {
    return (await host.files.statIn(root, path, { followLast: true })).mode;
  } finally {
    host.process.closeFd(root);
  }
}

/** Numbers of the block devices that limits name. */
export async function resolveBlockDevices(host: Host, paths: readonly string[]): Promise<Map<string, { major: number; minor: number }>> {
  const result = new Map<string, { major: number; minor: number }>();
  for (const path of new Set(paths)) {
    await modeOf(host, path).catch((error: unknown) => {
      throw new EngineError('system', `no such block device: ${path}`, { cause: error });
    });
    const found = await stat(path);
    result.set(path, { major: majorOf(found.rdev), minor: minorOf(found.rdev) });
  }
  return result;
}
