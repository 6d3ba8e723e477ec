import type { EngineError } from '../contracts/errors.js';
import type { Container } from './container.js';
import { joinOrder } from './ports.js';
import type { ContainerRoom } from './room.js';

/** Drivers in other processes that a container needs to start, by name: of its volumes, networks, addresses and log. */
function pluginsOf({ drivers, networks }: ContainerRoom, container: Container): string[] {
  const joined = joinOrder(container).flatMap(([name]) => networks.find(name) ?? []);
  const needed = [
    ...container.mounts.filter(({ type }) => type === 'volume').map(({ driver }) => ['volume', driver] as const),
    ...joined.map(({ driver }) => ['network', driver] as const),
    ...joined.map(({ ipam }) => ['ipam', ipam.driver || 'default'] as const),
    ['log', container.hostConfig.logDriver] as const,
  ];
  return [...new Set(needed.filter(([kind, name]) => name !== '' && drivers.isRemote(kind, name)).map(([, name]) => name))];
}

/**
 * The plugin for want of which a container did not start: it is not there, does not answer, or is disabled. `undefined` for any
 * other failure.
 */
export function missingPlugin(room: ContainerRoom, container: Container, error: EngineError): string | undefined {
  if (error.kind !== 'unavailable' && error.kind !== 'not-found' && error.kind !== 'conflict') return undefined;
  const { message } = error;
  return pluginsOf(room, container).find((name) =>
    error.kind === 'conflict'
      ? message.includes(`plugin ${name}`) && message.includes('found but disabled')
      : [`plugin ${name}:`, `plugin "${name}"`, `driver: ${name} `, `driver ${name} `].some((words) => message.includes(words)),
  );
}
