import { EngineError, conflict, messageOf, unavailable } from '../contracts/errors.js';
import type { CreateTask, RuntimeDriver, Task } from '../contracts/runtime.js';
import { failpoint } from '../state/failpoint.js';
import type { Intent } from '../state/journal.js';
import { UndoStack } from '../state/undo.js';
import type { Container } from './container.js';
import { resolveBlockDevices, resolveDevices } from './devices.js';
import { type JoinedNetwork, donor, joinNetworks } from './joining.js';
import type { LiveContainer } from './live.js';
import { logTarget } from './logs.js';
import { bindMounts, mountRootfs, mountShm, tmpfsMounts } from './mounts.js';
import type { OciSpec } from './oci-spec.js';
import type { ContainerRoom } from './room.js';
import { type SpecInput, buildSpec } from './spec.js';
import type { BoundMount } from './spec-mounts.js';
import { limitedDevices } from './spec-resources.js';
import { type StartFailure, readRuntimeError } from './start-errors.js';
import { now } from './times.js';
import { resolveUserIn } from './user.js';
import { missingPlugin } from './waiting.js';

/** Throws when a container in this state cannot be started. */
export function checkStartable({ id, state }: Container): void {
  switch (state.status) {
    case 'running':
    case 'restarting':
      throw new EngineError('not-modified', `container ${id} is already running`);
    case 'paused':
      throw conflict('cannot start a paused container, try unpause instead');
    case 'removing':
    case 'dead':
      throw conflict('container is marked for removal and cannot be started');
    case 'created':
    case 'exited':
  }
}

/**
 * Starts a container whose state allows it; the caller holds its lock. On failure everything is taken back, the record tells why,
 * and the error is thrown. `automatic` counts as a restart; one that fails for want of a plugin leaves the container `restarting`.
 */
export async function startContainer(room: ContainerRoom, container: Container, automatic: boolean): Promise<LiveContainer> {
  const { id } = container;
  const undo = new UndoStack(room.log);
  room.released.delete(id);
  // What a start makes does not survive a power cut, so its intent need not.
  const intent = room.commit(false, () => room.journal.begin('container.start', id));
  try {
    failpoint('container.start.1');
    const task = await makeTask(room, container, undo);
    failpoint('container.start.4');
    for (const attach of room.live.takePending(id)) {
      await attach.connect(task).catch((error: unknown) => {
        attach.cancel();
        room.log.warn('attaching a waiting client failed', { container: id, error: messageOf(error) });
      });
    }
    try {
      await task.start();
    } catch (error) {
      throw new FailedStart(readRuntimeError(error));
    }
    failpoint('container.start.5');
    const live = room.live.add(id, task);
    undo.push('forget the task', () => room.live.delete(id));
    // That it ran matters after a power cut only if it shall run again then.
    const { name: policy } = container.hostConfig.restartPolicy;
    const started = room.commit(policy === 'always' || policy === 'unless-stopped', () => {
      room.journal.end(intent);
      return room.store.update(id, (old) => ({
        restartCount: automatic ? old.restartCount + 1 : 0,
        manuallyStopped: false,
        state: {
          ...old.state,
          status: 'running',
          pid: task.pid,
          exitCode: 0,
          error: '',
          waitingFor: undefined,
          oomKilled: false,
          startedAt: now(),
          health: hasHealthcheck(old) ? { status: 'starting', failingStreak: 0, log: [] } : undefined,
        },
      }));
    });
    undo.dismiss();
    failpoint('container.start.6');
    room.publish(started ?? container, 'start');
    return live;
  } catch (thrown) {
    const failure = thrown instanceof FailedStart ? thrown.failure : asFailure(thrown);
    await undo.run();
    for (const attach of room.live.takePending(id)) attach.cancel();
    const plugin = automatic ? missingPlugin(room, container, failure.error) : undefined;
    if (plugin !== undefined) {
      noteWaiting(room, container, plugin, failure.error, intent);
      throw failure.error;
    }
    room.db.transaction(() => {
      room.journal.end(intent);
      room.store.update(id, (old) => ({
        state: {
          ...old.state,
          // A container that never ran stays `created`.
          status: old.state.startedAt === '' ? 'created' : 'exited',
          pid: 0,
          exitCode: failure.exitCode,
          error: failure.error.message,
          waitingFor: undefined,
        },
      }));
    });
    room.live.exited(id, { exitCode: failure.exitCode, error: undefined });
    throw failure.error;
  }
}

/** It is tried again until the plugin is back, so only what is new is written and told. */
function noteWaiting(room: ContainerRoom, { id, state }: Container, plugin: string, { message }: EngineError, intent: Intent): void {
  const error = `waiting for plugin ${plugin}: ${message}`;
  const waits = room.commit(false, () => {
    room.journal.end(intent);
    if (state.error === error) return undefined;
    return room.store.update(id, (old) => ({ state: { ...old.state, status: 'restarting', pid: 0, error, waitingFor: plugin } }));
  });
  if (waits && state.waitingFor !== plugin) room.publish(waits, 'waiting', { plugin, error });
}

class FailedStart extends Error {
  constructor(readonly failure: StartFailure) {
    super(failure.error.message);
  }
}

function asFailure(error: unknown): StartFailure {
  const engineError = error instanceof EngineError ? error : new EngineError('system', messageOf(error), { cause: error });
  return { exitCode: 128, error: engineError };
}

export function hasHealthcheck({ config }: Container): boolean {
  const kind = config.healthcheck?.test[0];
  return kind === 'CMD' || kind === 'CMD-SHELL';
}

/** Mounts, networks, specification and bundle, then the created process. Each step leaves its undoing in `undo`. */
async function makeTask(room: ContainerRoom, container: Container, undo: UndoStack): Promise<Task> {
  const { id, config } = container;
  const { driver } = await room.drivers.get('runtime', container.runtime).catch((error: unknown) => {
    throw unavailable(`the runtime ${container.runtime} cannot serve: ${messageOf(error)}`, error);
  });
  const [network, prepared] = await both(joinNetworks(room, container, undo), prepareFiles(room, container, undo));
  failpoint('container.start.2');
  const spec = buildSpec(await specInput(room, container, network, prepared, undo));
  const log = await logTarget(room, container);
  room.paths.makeFolder(id);
  room.paths.writeSpec(id, spec);
  failpoint('container.start.3');
  const task = await createTask(driver, {
    id,
    bundle: room.paths.bundle(id),
    stateDir: room.paths.task(id),
    terminal: config.tty,
    ...consoleSize(spec),
    openStdin: config.openStdin,
    stdinOnce: config.stdinOnce,
    log,
  });
  undo.push('delete the task', () => task.delete());
  return task;
}

const consoleSize = ({ process }: OciSpec): { consoleSize?: readonly [number, number] } =>
  process.consoleSize ? { consoleSize: [process.consoleSize.height, process.consoleSize.width] } : {};

async function createTask(driver: RuntimeDriver, options: CreateTask): Promise<Task> {
  try {
    return await driver.create(options);
  } catch (error) {
    throw new FailedStart(readRuntimeError(error));
  }
}

/** Both at once; a failure waits for the other to settle, so that undoing sees all that was made. */
async function both<A, B>(a: Promise<A>, b: Promise<B>): Promise<[A, B]> {
  const [first, second] = await Promise.allSettled([a, b]);
  if (first.status === 'rejected') throw first.reason;
  if (second.status === 'rejected') throw second.reason;
  return [first.value, second.value];
}

interface PreparedFiles {
  readonly binds: readonly BoundMount[];
  readonly user: SpecInput['user'];
}

/** The root file system with its volumes filled, and the user looked up in it. */
async function prepareFiles(room: ContainerRoom, container: Container, undo: UndoStack): Promise<PreparedFiles> {
  const { files, process } = room.host;
  const rootfs = await mountRootfs(room, container.id, undo);
  const rootFd = await files.openRoot(rootfs);
  try {
    const { workingDir, user } = container.config;
    const binds = await bindMounts(room, container, rootFd, undo);
    if (workingDir !== '' && workingDir !== '/') {
      await files.makeDirIn(rootFd, workingDir).catch((error: unknown) => {
        throw new EngineError('system', `cannot make the working directory ${workingDir}: ${messageOf(error)}`, { cause: error });
      });
    }
    return { binds, user: await resolveUserIn(files, rootFd, user, container.hostConfig.groupAdd) };
  } finally {
    process.closeFd(rootFd);
  }
}

async function specInput(
  room: ContainerRoom,
  container: Container,
  network: JoinedNetwork,
  prepared: PreparedFiles,
  undo: UndoStack,
): Promise<SpecInput> {
  const { hostConfig } = container;
  const [devices, blockDevices, ipc] = await Promise.all([
    resolveDevices(room.host, hostConfig),
    resolveBlockDevices(room.host, limitedDevices(hostConfig)),
    ipcOf(room, container, undo),
  ]);
  const init = (hostConfig.init ?? room.settings.init) && !isShared(hostConfig.pidMode);
  return {
    container,
    facts: room.facts,
    defaults: room.specDefaults,
    user: prepared.user,
    binds: [...nameFileBinds(room, container, network.nameFilesOf, prepared.binds), ...prepared.binds],
    tmpfs: tmpfsMounts(container),
    shm: ipc.shm,
    devices,
    blockDevices,
    network: network.namespace,
    pid: pidOf(room, container),
    ipc: ipc.namespace,
    hostname: network.hostname,
    initPath: init ? room.settings.initPath : '',
  };
}

const isShared = (mode: string): boolean => mode === 'host' || mode.startsWith('container:');

function pidOf(room: ContainerRoom, { hostConfig }: Container): SpecInput['pid'] {
  if (hostConfig.pidMode === 'host') return 'host';
  if (!hostConfig.pidMode.startsWith('container:')) return undefined;
  return { path: `/proc/${donor(room, hostConfig.pidMode.slice('container:'.length), 'PID').pid}/ns/pid` };
}

async function ipcOf(
  room: ContainerRoom,
  container: Container,
  undo: UndoStack,
): Promise<{ namespace: SpecInput['ipc']; shm: SpecInput['shm'] }> {
  const { ipcMode } = container.hostConfig;
  if (ipcMode === 'host') return { namespace: 'host', shm: { kind: 'bind', path: '/dev/shm' } };
  if (ipcMode === 'none') return { namespace: undefined, shm: { kind: 'none' } };
  if (ipcMode === 'shareable') return { namespace: undefined, shm: { kind: 'bind', path: await mountShm(room, container, undo) } };
  if (!ipcMode.startsWith('container:')) return { namespace: undefined, shm: { kind: 'own' } };
  const other = donor(room, ipcMode.slice('container:'.length), 'IPC');
  if (other.container.hostConfig.ipcMode !== 'shareable') {
    throw conflict(
      `cannot join IPC of a container: non-shareable IPC (hint: use IpcMode:shareable for the donor container) (${other.container.id})`,
    );
  }
  return { namespace: { path: `/proc/${other.pid}/ns/ipc` }, shm: { kind: 'bind', path: room.paths.shm(other.container.id) } };
}

/** /etc/hostname, /etc/hosts and /etc/resolv.conf, where the user has put nothing else. */
function nameFileBinds(room: ContainerRoom, container: Container, of: string, own: readonly BoundMount[]): BoundMount[] {
  const taken = new Set(own.map((bind) => bind.destination));
  const files: readonly (readonly [string, string])[] = [
    ['/etc/resolv.conf', room.paths.resolvConf(of)],
    ['/etc/hostname', room.paths.hostname(of)],
    ['/etc/hosts', room.paths.hosts(of)],
  ];
  return files
    .filter(([destination]) => !taken.has(destination))
    .map(([destination, source]) => ({
      source,
      destination,
      readWrite: !container.hostConfig.readonlyRootfs,
      propagation: 'rprivate',
      nonRecursive: false,
      recursiveReadOnly: 'enabled' as const,
    }));
}
