import { posix } from 'node:path';
import { invalid } from '../contracts/errors.js';
import { normalizeCapability } from '../container/capabilities.js';
import { JsonReader, parseJson, type Json, type JsonObject } from '../content/json.js';

/** `docker.volumedriver/1.0` in its parts. */
export interface InterfaceType {
  readonly prefix: string;
  readonly capability: string;
  readonly version: string;
}

export interface ConfigMount {
  readonly name: string;
  readonly description: string;
  /** On the host; undefined until the user sets it. */
  readonly source: string | undefined;
  readonly destination: string;
  readonly type: string;
  readonly options: readonly string[];
  readonly settable: readonly string[];
}

export interface ConfigEnv {
  readonly name: string;
  readonly description: string;
  /** Undefined until the user sets it. */
  readonly value: string | undefined;
  readonly settable: readonly string[];
}

export interface ConfigDevice {
  readonly name: string;
  readonly description: string;
  /** On the host; undefined until the user sets it. */
  readonly path: string | undefined;
  readonly settable: readonly string[];
}

/** What a plugin's author says of it: config.json, checked. */
export interface PluginConfig {
  readonly description: string;
  readonly documentation: string;
  readonly types: readonly InterfaceType[];
  /** Name of the socket below /run/docker/plugins. */
  readonly socket: string;
  /** '' is `moby.plugins.http/v1`. */
  readonly protocolScheme: string;
  readonly entrypoint: readonly string[];
  readonly workDir: string;
  readonly user: { readonly uid: number; readonly gid: number } | undefined;
  /** '', `none`, `bridge` or `host`. */
  readonly network: string;
  readonly mounts: readonly ConfigMount[];
  readonly ipcHost: boolean;
  readonly pidHost: boolean;
  /** Where in the plugin its mounts are made that the host shall see; '' for nowhere. */
  readonly propagatedMount: string;
  readonly env: readonly ConfigEnv[];
  readonly args: {
    readonly name: string;
    readonly description: string;
    readonly value: readonly string[];
    readonly settable: readonly string[];
  };
  /** The kernel's names. */
  readonly capabilities: readonly string[];
  readonly allowAllDevices: boolean;
  readonly devices: readonly ConfigDevice[];
}

/** Where a plugin makes its socket, as the plugin sees it. */
export const SOCKET_FOLDER = '/run/docker/plugins';
/** Where a plugin that collects the engine's metrics finds `metrics.sock`. */
export const METRICS_FOLDER = '/run/docker';

const WHAT = "the plugin's config.json";
const TYPE = /^([\w-]+)\.([\w-]+)\/([\w.-]+)$/;
const SOCKET = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,63}$/;
const NETWORKS = new Set(['', 'null', 'none', 'bridge', 'host']);

/** Go reads keys without regard to case, and authors rely on it. Two keys that are one then are refused: readers could see two documents. */
function folded(value: Json): Json {
  if (Array.isArray(value)) return value.map(folded);
  if (value === null || typeof value !== 'object') return value;
  const result = Object.create(null) as JsonObject;
  for (const [key, one] of Object.entries(value)) {
    const lower = key.toLowerCase();
    if (lower in result) throw invalid(`${WHAT} has the key ${JSON.stringify(lower.slice(0, 80))} twice`);
    result[lower] = folded(one);
  }
  return result;
}

/** Reads a plugin's configuration; what could not be run safely is refused here, before anything of it is kept. */
export function parsePluginConfig(bytes: Uint8Array): PluginConfig {
  const reader = JsonReader.of(folded(parseJson(bytes, WHAT)), WHAT);
  const face = reader.child('interface');
  if (!face) throw invalid(`${WHAT} has no interface`);
  const socket = face.string('socket');
  if (!SOCKET.test(socket)) throw invalid(`${WHAT}: ${JSON.stringify(socket.slice(0, 100))} cannot be the name of a socket`);
  const types = (face.strings('types') ?? []).map(parseType);
  if (types.length === 0) throw invalid(`${WHAT}: interface.types is empty`);
  const entrypoint = reader.strings('entrypoint') ?? [];
  if (entrypoint.length === 0 || entrypoint[0] === '') throw invalid(`${WHAT} has no entrypoint`);
  const network = reader.child('network')?.string('type') ?? '';
  if (!NETWORKS.has(network))
    throw invalid(`${WHAT}: the network type ${JSON.stringify(network.slice(0, 40))} is not known (none, bridge, host)`);
  const linux = reader.child('linux');
  const user = reader.child('user');
  const args = reader.child('args');
  return {
    description: reader.string('description'),
    documentation: reader.string('documentation'),
    types,
    socket,
    protocolScheme: face.string('protocolscheme'),
    entrypoint,
    workDir: optionalPath(reader, 'workdir'),
    user: user && { uid: userNumber(user, 'uid'), gid: userNumber(user, 'gid') },
    network,
    mounts: reader.children('mounts').map((mount) => ({
      ...described(mount),
      source: optional(mount, 'source'),
      destination: requiredPath(mount, 'destination'),
      type: mount.string('type') || 'bind',
      options: mount.strings('options') ?? [],
    })),
    ipcHost: reader.boolean('ipchost'),
    pidHost: reader.boolean('pidhost'),
    propagatedMount: optionalPath(reader, 'propagatedmount'),
    env: reader.children('env').map((env) => ({ ...described(env), value: optional(env, 'value') })),
    args: {
      name: args?.string('name') ?? '',
      description: args?.string('description') ?? '',
      value: args?.strings('value') ?? [],
      settable: args?.strings('settable') ?? [],
    },
    capabilities: [...new Set((linux?.strings('capabilities') ?? []).map(normalizeCapability))],
    allowAllDevices: linux?.boolean('allowalldevices') ?? false,
    devices: (linux?.children('devices') ?? []).map((device) => ({ ...described(device), path: optional(device, 'path') })),
  };
}

function parseType(text: string): InterfaceType {
  const [, prefix, capability, version] = TYPE.exec(text) ?? [];
  if (prefix === undefined || capability === undefined || version === undefined) {
    throw invalid(`${WHAT}: interface type ${JSON.stringify(text.slice(0, 100))} is not of the form prefix.capability/version`);
  }
  return { prefix, capability, version };
}

export const typeText = ({ prefix, capability, version }: InterfaceType): string => `${prefix}.${capability}/${version}`;

function described(reader: JsonReader): { name: string; description: string; settable: readonly string[] } {
  return { name: reader.string('name'), description: reader.string('description'), settable: reader.strings('settable') ?? [] };
}

const optional = (reader: JsonReader, key: string): string | undefined => (reader.has(key) ? reader.string(key) : undefined);

function requiredPath(reader: JsonReader, key: string): string {
  const path = reader.string(key);
  if (!path.startsWith('/') || path.includes('\0'))
    throw invalid(`${WHAT}: ${key} ${JSON.stringify(path.slice(0, 200))} is no absolute path`);
  return posix.normalize(path);
}

const optionalPath = (reader: JsonReader, key: string): string => (reader.string(key) === '' ? '' : requiredPath(reader, key));

function userNumber(reader: JsonReader, key: string): number {
  const value = reader.number(key);
  if (!Number.isInteger(value) || value < 0 || value > 0xffff_fffe) throw invalid(`${WHAT}: user.${key} is no user id`);
  return value;
}

/** As Docker's API and registries have it. */
export function pluginConfigJson(config: PluginConfig, diffIds: readonly string[], dockerVersion: string): object {
  return {
    ...(dockerVersion === '' ? {} : { DockerVersion: dockerVersion }),
    Description: config.description,
    Documentation: config.documentation,
    Interface: {
      Types: config.types.map(typeText),
      Socket: config.socket,
      ...(config.protocolScheme === '' ? {} : { ProtocolScheme: config.protocolScheme }),
    },
    Entrypoint: config.entrypoint,
    WorkDir: config.workDir,
    ...(config.user ? { User: { UID: config.user.uid, GID: config.user.gid } } : {}),
    Network: { Type: config.network },
    Linux: {
      Capabilities: config.capabilities,
      AllowAllDevices: config.allowAllDevices,
      Devices: config.devices.map(deviceJson),
    },
    PropagatedMount: config.propagatedMount,
    IpcHost: config.ipcHost,
    PidHost: config.pidHost,
    Mounts: config.mounts.map(mountJson),
    Env: config.env.map(({ name, description, settable, value }) => ({
      Name: name,
      Description: description,
      Settable: settable,
      Value: value ?? null,
    })),
    Args: { Name: config.args.name, Description: config.args.description, Settable: config.args.settable, Value: config.args.value },
    rootfs: { type: 'layers', diff_ids: diffIds },
  };
}

export const mountJson = (mount: ConfigMount): object => ({
  Name: mount.name,
  Description: mount.description,
  Settable: mount.settable,
  Source: mount.source ?? null,
  Destination: mount.destination,
  Type: mount.type,
  Options: mount.options,
});

export const deviceJson = (device: ConfigDevice): object => ({
  Name: device.name,
  Description: device.description,
  Settable: device.settable,
  Path: device.path ?? null,
});
