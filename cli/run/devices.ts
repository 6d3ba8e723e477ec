import { parseBytes } from '../render/parse.js';
import type { BlkioRate, BlkioWeight, HostConfig } from './body.js';

/** Path and value of a per-device limit, `/dev/sda:1mb`. */
const devicePair = (text: string): [string, string] => {
  const at = text.indexOf(':');
  if (at <= 0) throw new Error(`bad format: ${text}`);
  const path = text.slice(0, at);
  if (!path.startsWith('/dev/')) throw new Error(`bad format for device path: ${text}`);
  return [path, text.slice(at + 1)];
};

export const weightDevice = (text: string): BlkioWeight => {
  const [path, value] = devicePair(text);
  const weight = /^\d+$/.test(value) ? Number(value) : Number.NaN;
  if (Number.isNaN(weight) || weight > 65535 || (weight > 0 && (weight < 10 || weight > 1000)))
    throw new Error(`invalid weight for device: ${text}`);
  return { Path: path, Weight: weight };
};

export const throttleDevice = (text: string, bytes: boolean): BlkioRate => {
  const [path, value] = devicePair(text);
  if (!bytes) {
    if (!/^\d+$/.test(value))
      throw new Error(`invalid rate for device: ${text}. The correct format is <device-path>:<number>. Number must be a positive integer`);
    return { Path: path, Rate: Number(value) };
  }
  try {
    return { Path: path, Rate: parseBytes(value) };
  } catch {
    throw new Error(
      `invalid rate for device: ${text}. The correct format is <device-path>:<number>[<unit>]. Number must be a positive integer. Unit is optional and can be kb, mb, or gb`,
    );
  }
};

const cdiName = /^[A-Za-z][\w.-]*\/[A-Za-z][\w.-]*=[A-Za-z0-9][\w.:-]*$/;
const deviceMode = /^(?!.*(.).*\1)[rwm]+$/;

/** Devices of the host by path, and by the names of the container device interface. */
export const parseDevices = (texts: readonly string[]): { devices: NonNullable<HostConfig['Devices']>; cdi: string[] } => {
  const cdi = texts.filter((text) => cdiName.test(text));
  const devices = texts.filter((text) => !cdiName.test(text)).map(parseDevice);
  return { devices, cdi };
};

const parseDevice = (text: string): NonNullable<HostConfig['Devices']>[number] => {
  const parts = text.split(':');
  const [host, second, third] = parts as [string, string?, string?];
  if (parts.length > 3 || text === '') throw new Error(`invalid device specification: ${text}`);
  let inside = host;
  let mode = 'rwm';
  if (third !== undefined) {
    inside = second || host;
    mode = third;
  } else if (second !== undefined) {
    if (deviceMode.test(second)) mode = second;
    else if (second !== '') inside = second;
  }
  if (!inside.startsWith('/')) throw new Error(`${inside} is not an absolute path`);
  if (!deviceMode.test(mode)) throw new Error(`bad mode specified: ${mode}`);
  return { PathOnHost: host, PathInContainer: inside, CgroupPermissions: mode };
};

export const deviceCgroupRule = (text: string): string => {
  if (!/^[acb] ([0-9]+|\*):([0-9]+|\*) [rwm]{1,3}$/.test(text)) throw new Error(`invalid device cgroup format '${text}'`);
  return text;
};
