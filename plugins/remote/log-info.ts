import type { LogContainer, ReadLogs } from '@gantry/core/contracts/log.js';
import type { RequestOf } from '../sdk/protocol/methods.js';

type Info = RequestOf<'LogDriver.StartLogging'>['Info'];
type Config = RequestOf<'LogDriver.ReadLogs'>['Config'];

/** A container as the protocol tells of it. */
export function logInfo(container: LogContainer, options: Readonly<Record<string, string>>, daemonName: string): Info {
  return {
    Config: { ...options },
    ContainerID: container.id,
    ContainerName: `/${container.name}`,
    ContainerEntrypoint: container.entrypoint ?? '',
    ContainerArgs: container.args?.length ? [...container.args] : null,
    ContainerImageID: container.imageId,
    ContainerImageName: container.imageName,
    ContainerCreated: container.created ?? '0001-01-01T00:00:00Z',
    ContainerEnv: [...container.env],
    ContainerLabels: { ...container.labels },
    LogPath: '',
    DaemonName: daemonName,
  };
}

/** Go's zero time stands for "not given". */
const ZERO = '0001-01-01T00:00:00Z';

function timeText(time: bigint | undefined): string {
  if (time === undefined) return ZERO;
  const seconds = new Date(Number(time / 1_000_000n)).toISOString().slice(0, 19);
  return `${seconds}.${String(time % 1_000_000_000n).padStart(9, '0')}Z`;
}

export const readConfig = (request: ReadLogs): Config => ({
  Since: timeText(request.since),
  Until: timeText(request.until),
  Tail: request.tail ?? -1,
  Follow: request.follow,
});
