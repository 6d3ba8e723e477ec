import { invalid } from '../contracts/errors.js';
import type { EngineEvent, EventFilters } from './system.js';

/** Filters by an object: its type, matched by id, a prefix of the id, or its exact name. */
const OBJECT_FILTERS = ['container', 'volume', 'network', 'daemon', 'plugin', 'node', 'service', 'secret', 'config', 'builder'] as const;
const OTHER_FILTERS = ['type', 'event', 'image', 'label', 'label!', 'scope'];
const KNOWN = new Set<string>([...OBJECT_FILTERS, ...OTHER_FILTERS]);

/** Actions that carry a detail after a colon (`exec_start: sh`, `health_status: healthy`): asked for without it, any detail matches. */
const matchesAction = (action: string, wanted: string): boolean => action === wanted || action.startsWith(`${wanted}: `);

const withoutSlash = (name: string): string => name.replace(/^\//, '');

function matchesObject(event: EngineEvent, type: string, wanted: string): boolean {
  const name = withoutSlash(wanted);
  if (event.type !== type) {
    // A network's `connect` names the container, a volume's `mount` too: asked for a container, these belong to it.
    return event.attributes[type] === name;
  }
  return event.id === name || event.attributes['name'] === name || (/^[0-9a-f]{6,}$/.test(name) && event.id.startsWith(name));
}

/** `localhost:5000/a:tag` and `a@sha256:…` without tag and digest. */
function stripTag(image: string): string {
  const name = image.split('@', 1)[0] ?? '';
  const colon = name.lastIndexOf(':');
  return colon > name.lastIndexOf('/') ? name.slice(0, colon) : name;
}

function matchesImage(event: EngineEvent, wanted: string): boolean {
  const name = (event.type === 'image' ? event.attributes['name'] : event.attributes['image']) ?? '';
  const ids = event.type === 'image' ? [event.id, stripTag(event.id)] : [];
  return [...ids, name, stripTag(name)].includes(wanted);
}

function matchesLabel(event: EngineEvent, wanted: string): boolean {
  const equals = wanted.indexOf('=');
  if (equals === -1) return Object.hasOwn(event.attributes, wanted);
  const key = wanted.slice(0, equals);
  return Object.hasOwn(event.attributes, key) && event.attributes[key] === wanted.slice(equals + 1);
}

/** What a client's filters mean: values of one key are alternatives, keys and labels all hold. Unknown keys are refused. */
export function eventMatcher(filters: EventFilters): (event: EngineEvent) => boolean {
  for (const key of filters.keys()) if (!KNOWN.has(key)) throw invalid(`invalid filter '${key}'`);
  const tests: ((event: EngineEvent) => boolean)[] = [];
  const anyOf = (key: string, test: (event: EngineEvent, wanted: string) => boolean): void => {
    const values = filters.get(key);
    if (values && values.length > 0) tests.push((event) => values.some((value) => test(event, value)));
  };
  anyOf('type', (event, type) => event.type === type);
  anyOf('event', (event, action) => matchesAction(event.action, action));
  anyOf('image', matchesImage);
  anyOf('scope', (_, scope) => scope === 'local');
  for (const type of OBJECT_FILTERS) anyOf(type, (event, wanted) => matchesObject(event, type, wanted));
  for (const label of filters.get('label') ?? []) tests.push((event) => matchesLabel(event, label));
  for (const label of filters.get('label!') ?? []) tests.push((event) => !matchesLabel(event, label));
  return (event) => tests.every((test) => test(event));
}
