import type { Container } from '../../container/container.js';
import type { ContainerView } from '../../container/containers.js';
import type { EndpointState } from '../../network/networks.js';
import { humanDuration, unixSeconds } from '../times.js';
import { adapt, type Answer } from '../version.js';
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
      return `Restarting (${state.exitCode}) ${since(state.finishedAt || state.startedAt)} ago${state.waitingFor === undefined ? '' : ` (waiting for plugin ${state.waitingFor})`}`;
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

interface Settled {
  readonly version: number;
  readonly endpoints: readonly EndpointState[];
  /** Of the networks that it asks for, as they are now. */
  readonly networkIds: readonly string[];
  readonly part: object;
  /** `part` as JSON without its closing brace. */
  readonly text: string;
}

// A record and an endpoint's state are replaced, never changed, so what follows from them is made once: a list of many
// containers is joined from texts, whoever asks for it and how often.
const settled = new WeakMap<Container, Settled>();

const sameItems = <T>(a: readonly T[], b: readonly T[]): boolean => a.length === b.length && a.every((item, index) => item === b[index]);

/** All of a summary that neither the clock nor an image's name decides. */
function settledPart(view: ContainerView, lookup: NetworkLookup, version: number): Settled {
  const { container } = view;
  const endpoints = Object.values(view.endpoints);
  const networkIds = Object.keys(container.endpointRequests).map((name) => lookup.find(name)?.id ?? '');
  const known = settled.get(container);
  if (known?.version === version && sameItems(known.endpoints, endpoints) && sameItems(known.networkIds, networkIds)) return known;
  const part = adapt('container', summaryPart(view, lookup), version);
  const made = { version, endpoints, networkIds, part, text: JSON.stringify(part).slice(0, -1) };
  settled.set(container, made);
  return made;
}

function summaryPart(view: ContainerView, lookup: NetworkLookup): Answer {
  const { container } = view;
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
    Ports: portListJson(view),
    NetworkSettings: { Networks: networksJson(view, lookup) },
  };
}

function changingPart(view: ContainerView): object {
  const { size } = view;
  return {
    Image: view.imageName,
    Status: statusText(view.container),
    ...(size ? { SizeRw: size.writable, SizeRootFs: size.rootFs } : {}),
  };
}

/** One container as lists show it, for clients of a version. */
export function containerSummary(view: ContainerView, lookup: NetworkLookup, version: number): object {
  return { ...settledPart(view, lookup, version).part, ...changingPart(view) };
}

/** The same as JSON text. */
export function containerSummaryText(view: ContainerView, lookup: NetworkLookup, version: number): string {
  return `${settledPart(view, lookup, version).text},${JSON.stringify(changingPart(view)).slice(1)}`;
}
