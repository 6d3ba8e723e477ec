import { hostname as osHostname } from 'node:os';
import { formatPlatform, normalizePlatform, parsePlatform, platformRank } from '../content/platform.js';
import { EngineError, invalid, isKind, messageOf } from '../contracts/errors.js';
import { newId } from '../contracts/ids.js';
import type { DriverKind } from '../contracts/manifest.js';
import { orNearest } from '../contracts/nearest.js';
import { parseSize } from '../contracts/size.js';
import type { Image } from '../image/images.js';
import { failpoint } from '../state/failpoint.js';
import { UndoStack } from '../state/undo.js';
import type { ContainerConfig, Container, EndpointRequest, HostConfig, MountPoint } from './container.js';
import type { CreateContainer } from './containers.js';
import { holdMount } from './hold-mounts.js';
import { commandOf, mergeConfig } from './merge.js';
import {
  type MountDraft,
  anonymousVolume,
  cleanPath,
  inheritedMount,
  parseBind,
  parseMount,
  parseTmpfs,
  parseVolumesFrom,
} from './mount-requests.js';
import { checkName, randomName } from './names.js';
import type { ContainerRoom } from './room.js';
import { parseSecurityOptions } from './security-options.js';
import { MASKED_PATHS, READONLY_PATHS } from './spec.js';
import { now } from './times.js';
import { validateConfig, validateHostConfig } from './validate.js';

/** Checks a request whole, then makes the container: its volumes, its writable layer, its record. On failure nothing of it is left. */
export async function createContainer(room: ContainerRoom, request: CreateContainer): Promise<{ id: string; warnings: string[] }> {
  const image = room.images.resolve(request.config.image);
  if (request.platform !== '') checkPlatform(image, request);
  const id = newId();
  const name = request.name === '' ? randomName((taken) => room.store.nameTaken(taken)) : checkName(request.name);

  validateConfig(request.config);
  const hostConfig = withDefaults(room, request.hostConfig);
  const warnings = validateHostConfig(request.config, hostConfig, room.facts);
  const merged = mergeConfig(request.config, image.config);
  validateConfig(merged);
  if (commandOf(merged).length === 0) throw invalid('no command specified');
  const [path = '', ...args] = commandOf(merged);
  const storage = await chooseStorage(room, request);
  await checkDrivers(room, hostConfig);
  if (request.platform === '') warnings.push(...platformWarning(room, image));
  const endpointRequests = endpointsOf(room, request, hostConfig);
  const drafts = planMounts(room, merged, hostConfig);
  await checkBindSources(room, drafts);

  const release = room.store.reserve(name, id);
  const undo = new UndoStack(room.log);
  // After a power cut layers, folders and volumes that belong to no container are found without it.
  const intent = room.commit(false, () => room.journal.begin('container.create', id, { name, storageDriver: storage.driver }));
  undo.push('end the intent', () => room.commit(false, () => room.journal.end(intent)));
  undo.push('give the name back', release);
  try {
    failpoint('container.create.1');
    const mounts: MountPoint[] = [];
    for (const draft of drafts) mounts.push(await holdMount(room, id, draft, storage.driver, undo));
    failpoint('container.create.2');
    undo.push('remove the writable layer', () => room.layers.removeWritable(id));
    await room.layers.createWritable(
      id,
      storage.driver,
      room.images.layersOf(image),
      // Nobody asks for what a container wrote that is removed when it ends.
      { volatile: hostConfig.autoRemove, image: image.id, ...(storage.quota === undefined ? {} : { quota: storage.quota }) },
    );
    failpoint('container.create.3');
    undo.push('remove the folder', () => room.host.files.removeTree(room.paths.folder(id)));
    room.paths.makeFolder(id);
    const container: Container = {
      id,
      name,
      created: now(),
      imageId: image.id,
      platform: image.os === '' ? 'linux' : image.os,
      path,
      args,
      config: { ...merged, hostname: hostnameFor(merged, hostConfig, id) },
      hostConfig,
      endpointRequests,
      storageDriver: storage.driver,
      runtime: hostConfig.runtime,
      mounts,
      state: {
        status: 'created',
        pid: 0,
        exitCode: 0,
        error: '',
        oomKilled: false,
        startedAt: '',
        finishedAt: '',
        health: undefined,
      },
      restartCount: 0,
      manuallyStopped: false,
      execIds: [],
    };
    // Everybody sees it from here on, also while it is not yet on disk.
    undo.push('remove the record', () => room.commit(false, () => room.store.delete(id)));
    // One that removes itself is gone after a power cut in any case.
    await room.commitAndWait(!hostConfig.autoRemove, () => {
      room.store.insert(container);
      room.journal.end(intent);
    });
    undo.dismiss();
    failpoint('container.create.4');
    room.publish(container, 'create');
    return { id, warnings };
  } catch (error) {
    await undo.run();
    throw error;
  }
}

/** What Docker fills in, so that inspect shows what will be used. */
function withDefaults(room: ContainerRoom, asked: HostConfig): HostConfig {
  const { settings, facts } = room;
  const ownLog = asked.logDriver !== '' && asked.logDriver !== settings.logDriver;
  const networkMode = asked.networkMode === '' || asked.networkMode === 'default' ? defaultNetwork(room) : asked.networkMode;
  const masked = !asked.privileged && !parseSecurityOptions(asked.securityOpt).systemPathsUnconfined;
  return {
    ...asked,
    maskedPaths: asked.maskedPaths ?? (masked ? MASKED_PATHS : undefined),
    readonlyPaths: asked.readonlyPaths ?? (masked ? READONLY_PATHS : undefined),
    networkMode,
    logDriver: asked.logDriver === '' ? settings.logDriver : asked.logDriver,
    logOptions: ownLog ? asked.logOptions : { ...settings.logOptions, ...asked.logOptions },
    runtime: asked.runtime === '' ? settings.defaultRuntime : asked.runtime,
    shmSize: asked.shmSize === 0 ? settings.defaultShmSize : asked.shmSize,
    ipcMode: asked.ipcMode === '' ? 'private' : asked.ipcMode,
    cgroupnsMode: asked.cgroupnsMode === '' ? (facts.cgroupVersion === 2 && !asked.privileged ? 'private' : 'host') : asked.cgroupnsMode,
    restartPolicy:
      asked.restartPolicy.name === '' ? { name: 'no', maximumRetryCount: asked.restartPolicy.maximumRetryCount } : asked.restartPolicy,
    memorySwap: asked.memory > 0 && asked.memorySwap === 0 && facts.swapLimit ? asked.memory * 2 : asked.memorySwap,
  };
}

const defaultNetwork = (room: ContainerRoom): string => (room.settings.bridge === 'none' ? 'none' : 'bridge');

function hostnameFor(config: ContainerConfig, host: HostConfig, id: string): string {
  if (config.hostname !== '' || host.networkMode.startsWith('container:')) return config.hostname;
  return host.networkMode === 'host' || host.utsMode === 'host' ? osHostname() : id.slice(0, 12);
}

/** The storage driver and quota: from the request's own field or Docker's `--storage-opt`. */
async function chooseStorage(room: ContainerRoom, request: CreateContainer): Promise<{ driver: string; quota: number | undefined }> {
  const { driver: named, size, ...rest } = request.hostConfig.storageOptions;
  const unknown = Object.keys(rest)[0];
  if (unknown !== undefined)
    throw invalid(
      `unknown storage option: ${unknown.slice(0, 128)}${orNearest(unknown, ['driver', 'size'])}; a driver's own are the daemon's`,
    );
  if (named !== undefined && request.storageDriver !== '' && named !== request.storageDriver) {
    throw invalid(`conflicting storage drivers: ${request.storageDriver} and ${named}`);
  }
  const driver = request.storageDriver || named || room.layers.defaultDriver.name;
  const open = await driverOf(room, 'storage', driver);
  const quota = size === undefined ? undefined : parseSize(size);
  if (quota !== undefined && !open.has('quota')) {
    throw invalid(`--storage-opt size is not supported by the storage driver ${driver} on this host`);
  }
  return { driver, quota };
}

/** An open driver; one that does not exist is the request's mistake here. */
async function driverOf<K extends DriverKind>(room: ContainerRoom, kind: K, name: string) {
  try {
    return await room.drivers.get(kind, name);
  } catch (error) {
    if (isKind(error, 'not-found')) throw invalid(messageOf(error), error);
    throw error;
  }
}

const leftOutNote = (room: ContainerRoom, kind: DriverKind, name: string): string =>
  room.drivers.isLeftOut(kind, name) ? ' (it was left out of this build)' : '';

async function checkDrivers(room: ContainerRoom, host: HostConfig): Promise<void> {
  try {
    await room.drivers.get('runtime', host.runtime);
  } catch (error) {
    if (isKind(error, 'not-found'))
      throw invalid(`unknown or invalid runtime name: ${host.runtime}${leftOutNote(room, 'runtime', host.runtime)}`, error);
    throw error;
  }
  try {
    const log = await room.drivers.get('log', host.logDriver);
    log.driver.validate(host.logOptions);
  } catch (error) {
    if (isKind(error, 'not-found'))
      throw invalid(`logger: no log driver named '${host.logDriver}' is registered${leftOutNote(room, 'log', host.logDriver)}`, error);
    throw error;
  }
}

/** Docker's words and kind: a client that reads them asks for a pull of the right one. */
function checkPlatform(image: Image, request: CreateContainer): void {
  const actual = { os: image.os, architecture: image.architecture, variant: image.variant };
  const wanted = parsePlatform(request.platform);
  if (image.architecture === '' || platformRank(wanted, actual) !== undefined) return;
  const [is, asked] = [formatPlatform(normalizePlatform(actual)), formatPlatform(wanted)];
  throw new EngineError(
    'not-found',
    `image with reference ${request.config.image} was found but its platform (${is}) does not match the specified platform (${asked})`,
  );
}

function platformWarning(room: ContainerRoom, image: Image): string[] {
  const host = room.facts.architecture;
  if (image.architecture === '' || image.architecture === host) return [];
  const variant = image.variant === '' ? '' : `/${image.variant}`;
  return [
    `The requested image's platform (${image.os}/${image.architecture}${variant}) does not match the detected host platform (linux/${host}) and no specific platform was requested`,
  ];
}

const NO_REQUEST: EndpointRequest = {
  ipv4Address: '',
  ipv6Address: '',
  linkLocalIps: [],
  aliases: [],
  links: [],
  macAddress: '',
  driverOptions: {},
  gatewayPriority: 0,
};

/** Which networks a container joins when it starts, by name. That they exist is looked at then: they may be made in between. */
function endpointsOf(room: ContainerRoom, request: CreateContainer, host: HostConfig): Record<string, EndpointRequest> {
  if (request.config.networkDisabled || host.networkMode.startsWith('container:')) return {};
  const nameOf = (key: string): string => (key === 'default' ? host.networkMode : (room.networks.find(key)?.name ?? key));
  const main = nameOf(host.networkMode);
  const result: Record<string, EndpointRequest> = {};
  for (const [key, endpoint] of Object.entries(request.endpoints)) result[nameOf(key)] = endpoint;
  const explicit = request.hostConfig.networkMode !== '' && request.hostConfig.networkMode !== 'default';
  if (Object.keys(result).length === 0 || (explicit && !(main in result))) result[main] = NO_REQUEST;
  for (const [name, endpoint] of Object.entries(result)) checkEndpoint(name, endpoint);
  const names = Object.keys(result);
  if (names.length > 1 && (names.includes('host') || names.includes('none'))) {
    throw invalid(`conflicting options: cannot attach both user-defined and non-user-defined network-modes`);
  }
  const mainRequest = result[main];
  if (mainRequest && request.config.macAddress !== '' && mainRequest.macAddress === '') {
    result[main] = { ...mainRequest, macAddress: request.config.macAddress };
  }
  return result;
}

export function checkEndpoint(network: string, endpoint: EndpointRequest): void {
  const predefined = network === 'bridge' || network === 'host' || network === 'none';
  if (!predefined) return;
  if (endpoint.ipv4Address !== '' || endpoint.ipv6Address !== '') {
    throw invalid('user specified IP address is supported on user defined networks only');
  }
  if (endpoint.aliases.length > 0) {
    throw invalid('network-scoped aliases are only supported for user-defined networks');
  }
}

/** Every mount by its place: from other containers, overridden by binds and mounts, then volumes of the image where nothing else is. */
function planMounts(room: ContainerRoom, config: ContainerConfig, host: HostConfig): MountDraft[] {
  const byTarget = new Map<string, MountDraft>();
  for (const spec of host.volumesFrom) {
    const { container, mode } = parseVolumesFrom(spec);
    for (const point of room.store.get(container).mounts) {
      byTarget.set(point.destination, { point: inheritedMount(point, mode), sourceMustExist: false });
    }
  }
  const tmpfs = parseTmpfs(host.tmpfs);
  const own = new Set(tmpfs.keys());
  const place = (draft: MountDraft): void => {
    const { destination } = draft.point;
    if (own.has(destination)) throw invalid(`Duplicate mount point: ${destination}`);
    own.add(destination);
    byTarget.set(destination, draft);
  };
  for (const bind of host.binds) place(parseBind(bind, host.volumeDriver));
  for (const mount of host.mounts) place(parseMount(mount, host.volumeDriver));
  for (const target of tmpfs.keys()) byTarget.delete(target);
  for (const path of config.volumes) {
    const target = cleanPath(path);
    if (own.has(target) || byTarget.has(target)) continue;
    byTarget.set(target, anonymousVolume(path, host.volumeDriver));
  }
  return [...byTarget.values()];
}

async function checkBindSources(room: ContainerRoom, drafts: readonly MountDraft[]): Promise<void> {
  const binds = drafts.filter((draft) => draft.sourceMustExist);
  if (binds.length === 0) return;
  const root = await room.host.files.openRoot('/');
  try {
    for (const { point } of binds) {
      await room.host.files.statIn(root, point.source, { followLast: true }).catch((error: unknown) => {
        throw invalid(`invalid mount config for type "bind": bind source path does not exist: ${point.source}`, error);
      });
    }
  } finally {
    room.host.process.closeFd(root);
  }
}
