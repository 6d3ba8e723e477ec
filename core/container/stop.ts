import { EngineError, conflict, isKind } from '../contracts/errors.js';
import type { Container } from './container.js';
import type { LiveContainer } from './live.js';
import type { ContainerRoom } from './room.js';
import { SIGKILL, SIGTERM, parseSignal } from './signals.js';
import type { Supervision } from './supervision.js';

/** How long a killed container may take to go before every process of its cgroup is killed one by one. */
const KILL_GRACE_MS = 10_000;

/**
 * Ends a running container: its stop signal, then after the timeout SIGKILL. Resolves when its end is recorded. No lock is held
 * while waiting, since the recording needs it; a start meanwhile finds the container still running.
 */
export async function stopContainer(
  room: ContainerRoom,
  supervision: Supervision,
  id: string,
  options: { timeout?: number; signal?: string },
): Promise<void> {
  const armed = await room.locks.run(id, async () => {
    const container = room.store.byFullId(id);
    if (!container || container.state.status === 'created' || container.state.status === 'exited' || container.state.status === 'dead') {
      throw new EngineError('not-modified', `container ${id} is not running`);
    }
    if (container.state.status === 'removing') throw conflict(`container ${id} is being removed`);
    const signal = parseSignal(options.signal || container.config.stopSignal || String(SIGTERM));
    room.store.update(id, () => ({ manuallyStopped: true }));
    if (supervision.cancelRestart(id)) return undefined;
    const live = room.live.get(id);
    if (!live) throw new EngineError('not-modified', `container ${id} is not running`);
    const ended = untilEnded(room, id, live);
    await send(room, container, live, signal);
    return { container, live, ended };
  });
  if (armed) {
    const { container, live, ended } = armed;
    const seconds = options.timeout ?? container.config.stopTimeout ?? room.settings.defaultStopTimeout;
    if (!(await within(ended, seconds < 0 ? undefined : seconds * 1000))) await killContainer(room, container, live, ended);
  }
  const container = room.store.byFullId(id);
  if (container) room.publish(container, 'stop');
}

/** SIGKILL to the first process, and to all others when that does not end it. */
export async function killContainer(room: ContainerRoom, container: Container, live: LiveContainer, ended: Promise<void>): Promise<void> {
  await send(room, container, live, SIGKILL);
  if (await within(ended, KILL_GRACE_MS)) return;
  await live.task.killAll();
  if (await within(ended, KILL_GRACE_MS)) return;
  throw new EngineError('system', `cannot kill container: ${container.id}: tried to kill container, but did not receive an exit event`);
}

/** Resolves once the end of this run is recorded. Armed when it returns. */
export function untilEnded(room: ContainerRoom, id: string, live: LiveContainer): Promise<void> {
  return room.live.get(id) === live ? live.ended : Promise.resolve();
}

/** Sends a signal and tells of it; a process that is gone already is what the signal was for. A paused one gets it when it goes on. */
async function send(room: ContainerRoom, container: Container, live: LiveContainer, signal: number): Promise<void> {
  try {
    await live.task.kill(signal);
  } catch (error) {
    if (!isKind(error, 'conflict')) throw error;
  }
  const paused = room.store.byFullId(container.id)?.state.status === 'paused';
  if (paused) {
    await live.task.resume();
    room.store.updateState(container.id, { status: 'running' });
  }
  room.publish(container, 'kill', { signal: String(signal) });
}

async function within(done: Promise<void>, ms: number | undefined): Promise<boolean> {
  if (ms === undefined) {
    await done;
    return true;
  }
  const { promise: late, resolve: expire } = Promise.withResolvers<false>();
  const timer = setTimeout(() => expire(false), ms);
  try {
    return await Promise.race([done.then(() => true), late]);
  } finally {
    clearTimeout(timer);
  }
}

/** `docker kill`: any signal, KILL by default, which is waited for. */
export async function signalContainer(
  room: ContainerRoom,
  supervision: Supervision,
  container: Container,
  name: string,
  signalText: string,
): Promise<void> {
  const { id } = container;
  const signal = signalText === '' ? SIGKILL : parseSignal(signalText);
  const notRunning = (): EngineError => conflict(`cannot kill container: ${name}: container ${id} is not running`);
  const stopSignal = container.config.stopSignal === '' ? SIGTERM : parseSignal(container.config.stopSignal);
  const armed = await room.locks.run(id, async () => {
    const current = room.store.byFullId(id);
    const live = room.live.get(id);
    const deadly = signal === SIGKILL || signal === stopSignal;
    if (current?.state.status === 'restarting' && deadly) {
      room.store.update(id, () => ({ manuallyStopped: true }));
      supervision.cancelRestart(id);
      return undefined;
    }
    if (!current || !live) throw notRunning();
    // Other signals may be handled by the program and say nothing about its restarts.
    if (deadly) room.store.update(id, () => ({ manuallyStopped: true }));
    const ended = untilEnded(room, id, live);
    if (signal === SIGKILL) return { live, ended };
    try {
      await live.task.kill(signal);
    } catch (error) {
      if (isKind(error, 'conflict')) throw notRunning();
      throw error;
    }
    if (current.state.status === 'paused' && deadly) {
      await live.task.resume();
      room.store.updateState(id, { status: 'running' });
    }
    room.publish(current, 'kill', { signal: String(signal) });
    return undefined;
  });
  if (armed) await killContainer(room, container, armed.live, armed.ended);
}
