import { conflict, EngineError } from '../contracts/errors.js';
import type { LogContainer, LogEntry, LogTarget, ReadLogs } from '../contracts/log.js';
import type { Container } from './container.js';
import type { ContainerRoom } from './room.js';

/** A container as its log driver sees it. */
export function logContainer(room: ContainerRoom, container: Container): LogContainer {
  return {
    id: container.id,
    name: container.name,
    imageId: container.imageId,
    imageName: container.config.image,
    labels: container.config.labels,
    env: container.config.env,
    directory: room.paths.folder(container.id),
  };
}

export async function logTarget(room: ContainerRoom, container: Container): Promise<LogTarget> {
  const { driver } = await room.drivers.get('log', container.hostConfig.logDriver);
  return driver.target(logContainer(room, container), container.hostConfig.logOptions);
}

/** What was logged, through the driver that wrote it. A follower ends when the container stops and all was read. */
export async function readLogs(
  room: ContainerRoom,
  container: Container,
  request: ReadLogs,
): Promise<{ tty: boolean; entries: AsyncIterable<LogEntry> }> {
  const { status } = container.state;
  if (status === 'removing' || status === 'dead') throw conflict('can not get logs from container which is dead or marked for removal');
  const open = await room.drivers.get('log', container.hostConfig.logDriver);
  if (!open.has('read')) throw new EngineError('not-implemented', 'configured logging driver does not support reading');
  const live = room.live.get(container.id);
  const entries = open.driver.read(logContainer(room, container), container.hostConfig.logOptions, {
    ...request,
    follow: request.follow && live !== undefined,
    ...(request.follow && live ? { ended: live.ended } : {}),
  });
  return { tty: container.config.tty, entries };
}
