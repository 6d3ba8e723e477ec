import { EngineError } from '../contracts/errors.js';
import type { Container } from './container.js';
import { refreshNameFiles } from './connect.js';
import type { ContainerRoom } from './room.js';

/** The alias of a legacy link `CONTAINER[:ALIAS]`, either of which may begin with a slash. */
function aliasOf(link: string): string {
  const [target = '', alias = target] = link.split(':');
  return alias.replace(/^.*\//, '');
}

/** Takes a legacy link out of a container and of what it sees when it runs. The caller holds the container's lock. */
export async function removeLink(room: ContainerRoom, { id, name, hostConfig }: Container, alias: string): Promise<void> {
  const dropped = hostConfig.links.filter((link) => aliasOf(link) === alias);
  if (dropped.length === 0) throw new EngineError('not-found', `Could not get container for link /${name}/${alias}`);
  const links = hostConfig.links.filter((link) => !dropped.includes(link));
  room.store.update(id, (old) => ({ hostConfig: { ...old.hostConfig, links } }));
  if (!room.live.get(id)) return;
  await room.networks.dropLinks(id, hostConfig.networkMode, dropped);
  await refreshNameFiles(room, id);
}
