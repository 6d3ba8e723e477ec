import { conflict, EngineError, messageOf } from '../contracts/errors.js';
import type { LogContainer, LogDriver, LogEntry, LogForm, LogTarget, ReadLogs } from '../contracts/log.js';
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
    entrypoint: container.path,
    args: container.args,
    created: container.created,
    directory: room.paths.folder(container.id),
  };
}

export async function logTarget(room: ContainerRoom, container: Container): Promise<LogTarget> {
  const { driver } = await room.drivers.get('log', container.hostConfig.logDriver);
  return driver.target(logContainer(room, container), container.hostConfig.logOptions);
}

/** Tells a log driver that wants to know that a container runs. */
export function tellLogDriver(room: ContainerRoom, container: Container, ended: Promise<void>): void {
  room.drivers
    .get('log', container.hostConfig.logDriver)
    .then(({ driver }) => driver.running?.(logContainer(room, container), container.hostConfig.logOptions, ended))
    .catch((error: unknown) =>
      room.log.warn('the log driver of a running container is away', { container: container.id, error: messageOf(error) }),
    );
}

interface OpenLog {
  readonly driver: LogDriver;
  readonly of: LogContainer;
  readonly options: Readonly<Record<string, string>>;
  readonly request: ReadLogs;
}

/** The container's log, ready to be read. A follower ends when the container stops and all was read. */
async function openLog(room: ContainerRoom, container: Container, request: ReadLogs): Promise<OpenLog> {
  const { status } = container.state;
  if (status === 'removing' || status === 'dead') throw conflict('can not get logs from container which is dead or marked for removal');
  const open = await room.drivers.get('log', container.hostConfig.logDriver);
  if (!open.has('read')) throw new EngineError('not-implemented', 'configured logging driver does not support reading');
  const live = room.live.get(container.id);
  return {
    driver: open.driver,
    of: logContainer(room, container),
    options: container.hostConfig.logOptions,
    request: {
      ...request,
      follow: request.follow && live !== undefined,
      ...(request.follow && live ? { ended: live.ended } : {}),
    },
  };
}

/** What was logged, through the driver that wrote it. */
export async function readLogs(room: ContainerRoom, container: Container, wanted: ReadLogs): Promise<AsyncIterable<LogEntry>> {
  const { driver, of, options, request } = await openLog(room, container, wanted);
  return driver.read(of, options, request);
}

/** As {@link readLogs}; entries may come as runs that are already written out. */
export async function readLogRuns(
  room: ContainerRoom,
  container: Container,
  wanted: ReadLogs,
  form: LogForm,
): Promise<AsyncIterable<LogEntry | Buffer>> {
  const { driver, of, options, request } = await openLog(room, container, wanted);
  return driver.readRuns?.(of, options, request, form) ?? driver.read(of, options, request);
}
