import { invalid } from '../contracts/errors.js';
import type { EndpointState } from '../network/networks.js';
import type { Container, ContainerStatus } from './container.js';
import type { Filters, ListContainers } from './containers.js';
import { namePattern } from './name-pattern.js';

const KNOWN = new Set(
  'ancestor before since exited expose publish health id is-task isolation label label! name network status volume'.split(' '),
);
const STATUSES = new Set<string>(['created', 'running', 'paused', 'restarting', 'removing', 'exited', 'dead'] satisfies ContainerStatus[]);
const HEALTHS = new Set(['starting', 'healthy', 'unhealthy', 'none']);

/** What a filter has to know beyond a record. */
export interface FilterContext {
  /** By anything that names one; throws Docker's "No such container". */
  find(name: string): Container;
  endpoints(id: string): Readonly<Record<string, EndpointState>>;
  /** Network id of a name or id prefix, `undefined` for none. */
  networkId(name: string): string | undefined;
  /** Ids of images that descend from the named one, itself included. */
  descendants(image: string): ReadonlySet<string>;
}

export const isRunning = (status: ContainerStatus): boolean => status === 'running' || status === 'paused' || status === 'restarting';

/** A test for each container, of a list newest first. Unknown keys and values are refused. */
export function listMatcher(options: ListContainers, context: FilterContext): (container: Container) => boolean {
  const { filters } = options;
  for (const key of filters.keys()) if (!KNOWN.has(key)) throw invalid(`invalid filter '${key}'`);
  const tests: ((container: Container) => boolean)[] = [];
  const anyOf = (key: string, make: (value: string) => (container: Container) => boolean): void => {
    const values = filters.get(key);
    if (!values || values.length === 0) return;
    const made = values.map(make);
    tests.push((container) => made.some((test) => test(container)));
  };
  const all = options.all || options.limit > 0 || filters.has('status') || filters.has('before') || filters.has('since');
  if (!all) tests.push(({ state }) => isRunning(state.status));

  anyOf('status', (status) => {
    if (!STATUSES.has(status)) throw invalid(`invalid filter 'status=${status}'`);
    return ({ state }) => state.status === status;
  });
  anyOf('health', (health) => {
    if (!HEALTHS.has(health)) throw invalid(`invalid filter 'health=${health}'`);
    return ({ state }) => (state.health?.status ?? 'none') === health;
  });
  anyOf('exited', (code) => {
    if (!/^-?\d+$/.test(code)) throw invalid(`invalid filter 'exited=${code}'`);
    return ({ state }) => state.exitCode === Number(code) && !isRunning(state.status) && state.startedAt !== '';
  });
  anyOf('name', (pattern) => {
    const test = namePattern(pattern);
    return ({ name }) => test(name) || test(`/${name}`);
  });
  anyOf('id', (pattern) => {
    const test = namePattern(pattern);
    return ({ id }) => test(id);
  });
  anyOf('ancestor', (image) => {
    const ids = context.descendants(image);
    return (container) => ids.has(container.imageId) || container.config.image === image;
  });
  anyOf(
    'volume',
    (volume) =>
      ({ mounts }) =>
        mounts.some(({ name, destination, source }) => [name, destination, source].includes(volume)),
  );
  anyOf('network', (network) => {
    const id = context.networkId(network);
    return (container) => {
      const live = Object.values(context.endpoints(container.id));
      return (
        network in container.endpointRequests || live.some((endpoint) => endpoint.networkName === network || endpoint.networkId === id)
      );
    };
  });
  anyOf('publish', (port) => {
    const wanted = portRange(port);
    return ({ id }) => Object.values(context.endpoints(id)).some((e) => e.published.some((p) => wanted(p.hostPort, p.protocol)));
  });
  anyOf('expose', (port) => {
    const wanted = portRange(port);
    return ({ config }) => config.exposedPorts.some((spec) => wanted(Number.parseInt(spec, 10), spec.split('/')[1] ?? 'tcp'));
  });
  anyOf('is-task', (value) => {
    // There are no swarm tasks here.
    return () => !['1', 'true'].includes(value.toLowerCase());
  });
  anyOf('isolation', (value) => () => value === 'default' || value === '');
  for (const label of filters.get('label') ?? []) tests.push((container) => hasLabel(container, label));
  for (const label of filters.get('label!') ?? []) tests.push((container) => !hasLabel(container, label));
  for (const name of filters.get('before') ?? []) {
    const { created, id } = context.find(name);
    tests.push((container) => container.id !== id && container.created < created);
  }
  for (const name of filters.get('since') ?? []) {
    const { created, id } = context.find(name);
    tests.push((container) => container.id !== id && container.created > created);
  }
  return (container) => tests.every((test) => test(container));
}

function portRange(text: string): (port: number, protocol: string) => boolean {
  const match = /^(\d+)(?:-(\d+))?(?:\/(tcp|udp|sctp))?$/.exec(text);
  if (!match) throw invalid(`invalid filter: '${text}' is no port`);
  const [first, last, protocol] = [Number(match[1]), Number(match[2] ?? match[1]), match[3] ?? 'tcp'];
  return (port, of) => port >= first && port <= last && of === protocol;
}

function hasLabel({ config }: Container, wanted: string): boolean {
  const separator = wanted.indexOf('=');
  const key = separator < 0 ? wanted : wanted.slice(0, separator);
  return Object.hasOwn(config.labels, key) && (separator < 0 || config.labels[key] === wanted.slice(separator + 1));
}

/** `until=` of a prune: a time, or a duration before now (Go's `10m`, `1h30m`); nanoseconds since 1970. */
export function parseUntil(text: string, nowNanoseconds: bigint): bigint {
  if (/^\d+(\.\d{1,9})?$/.test(text)) {
    const [seconds = '0', fraction = ''] = text.split('.');
    return BigInt(seconds) * 1_000_000_000n + BigInt(fraction.padEnd(9, '0'));
  }
  const units: Readonly<Record<string, number>> = { h: 3_600_000, m: 60_000, s: 1000, ms: 1 };
  if (/^(?:\d+(?:\.\d+)?(?:h|ms|m|s))+$/.test(text)) {
    let ms = 0;
    for (const [, amount, unit] of text.matchAll(/(\d+(?:\.\d+)?)(h|ms|m|s)/g)) ms += Number(amount) * (units[unit ?? ''] ?? 0);
    return nowNanoseconds - BigInt(Math.round(ms)) * 1_000_000n;
  }
  const time = Date.parse(/^\d{4}-\d\d-\d\d$/.test(text) ? `${text}T00:00:00Z` : text);
  if (Number.isNaN(time)) throw invalid(`invalid filter 'until=${text}'`);
  return BigInt(time) * 1_000_000n;
}

export function pruneMatcher(
  filters: Filters,
  nowNanoseconds: bigint,
  timeOf: (container: Container) => bigint,
): (container: Container) => boolean {
  for (const key of filters.keys()) {
    if (key !== 'label' && key !== 'label!' && key !== 'until') throw invalid(`invalid filter '${key}'`);
  }
  const until = filters.get('until') ?? [];
  if (until.length > 1) throw invalid('more than one until filter specified');
  const before = until[0] === undefined ? undefined : parseUntil(until[0], nowNanoseconds);
  return (container) =>
    !isRunning(container.state.status) &&
    container.state.status !== 'removing' &&
    (before === undefined || timeOf(container) < before) &&
    (filters.get('label') ?? []).every((label) => hasLabel(container, label)) &&
    (filters.get('label!') ?? []).every((label) => !hasLabel(container, label));
}
