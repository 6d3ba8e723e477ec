import type { Container } from '../../container/container.js';
import type { ContainerView } from '../../container/containers.js';
import { humanDuration, unixSeconds } from '../times.js';
import { mountPointJson, networksJson, portListJson, type NetworkLookup } from './endpoint-json.js';

/** What `ps` prints under STATUS. */
export function statusText(container: Container, now: number = Date.now()): string {
  const { state } = container;
  const since = (time: string): string => humanDuration(now - Date.parse(time));
  switch (state.status) {
    case 'running': {
      const health = state.health;
      const note = !health ? '' : health.status === 'starting' ? ' (health: starting)' : ` (${health.status})`;
      return `Up ${since(state.startedAt)}${note}`;
    }
    case 'paused':
      return `Up ${since(state.startedAt)} (Paused)`;
    case 'restarting':
      return `Restarting (${state.exitCode}) ${since(state.finishedAt || state.startedAt)} ago`;
    case 'removing':
      return 'Removal In Progress';
    case 'dead':
      return 'Dead';
    case 'created':
      return 'Created';
    case 'exited':
      if (state.startedAt === '') return 'Created';
      return state.finishedAt === '' ? '' : `Exited (${state.exitCode}) ${since(state.finishedAt)} ago`;
  }
}

/** The part of a summary that a record alone decides. */
function recordPart(container: Container): object {
  const command = [container.path, ...container.args].map((word) => (/\s/.test(word) ? `'${word}'` : word)).join(' ');
  return {
    Id: container.id,
    Names: [`/${container.name}`],
    ImageID: container.imageId,
    Command: command,
    Created: unixSeconds(container.created),
    Labels: container.config.labels,
    State: container.state.status,
    HostConfig: {
      NetworkMode: container.hostConfig.networkMode,
      ...(Object.keys(container.hostConfig.annotations).length > 0 ? { Annotations: container.hostConfig.annotations } : {}),
    },
    Mounts: container.mounts.map(mountPointJson),
  };
}

// A record is replaced, never changed, so what follows from it is made once.
const recordParts = new WeakMap<Container, object>();

/** One element of GET /containers/json. */
export function containerSummary(view: ContainerView, lookup: NetworkLookup): object {
  const { container, size } = view;
  let part = recordParts.get(container);
  if (!part) {
    part = recordPart(container);
    recordParts.set(container, part);
  }
  return {
    ...part,
    Image: view.imageName,
    Ports: portListJson(view),
    ...(size ? { SizeRw: size.writable, SizeRootFs: size.rootFs } : {}),
    Status: statusText(container),
    NetworkSettings: { Networks: networksJson(view, lookup) },
  };
}
