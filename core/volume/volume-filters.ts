import { invalid } from '../contracts/errors.js';
import type { Volume, VolumeFilters } from './volumes.js';

const KNOWN = new Set(['dangling', 'driver', 'label', 'label!', 'name']);

/** Values of one key are alternatives; keys and labels all hold. `name` matches any part. Unknown keys are refused. */
export function volumeMatcher(filters: VolumeFilters, inUse: (name: string) => boolean): (volume: Volume) => boolean {
  for (const key of filters.keys()) if (!KNOWN.has(key)) throw invalid(`invalid filter '${key}'`);
  const values = (key: string): readonly string[] => filters.get(key) ?? [];
  const dangling = values('dangling').map((value) => {
    if (/^(?:1|true)$/i.test(value)) return true;
    if (/^(?:0|false)$/i.test(value)) return false;
    throw invalid(`invalid value for filter 'dangling=${value}'`);
  });
  return (volume) =>
    (dangling.length === 0 || dangling.some((wanted) => wanted !== inUse(volume.name))) &&
    (values('driver').length === 0 || values('driver').includes(volume.driver)) &&
    (values('name').length === 0 || values('name').some((part) => volume.name.includes(part))) &&
    values('label').every((label) => hasLabel(volume, label)) &&
    values('label!').every((label) => !hasLabel(volume, label));
}

function hasLabel({ labels }: Volume, wanted: string): boolean {
  const separator = wanted.indexOf('=');
  const key = separator < 0 ? wanted : wanted.slice(0, separator);
  return Object.hasOwn(labels, key) && (separator < 0 || labels[key] === wanted.slice(separator + 1));
}
