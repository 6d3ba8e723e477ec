import { invalid } from '../contracts/errors.js';
import type { Network, NetworkFilters } from './networks.js';
import { predefinedNames } from './network-request.js';

/** Docker's grammar of a label filter: `key` or `key=value`. */
function hasLabel(network: Network, wanted: string): boolean {
  const at = wanted.indexOf('=');
  const key = at < 0 ? wanted : wanted.slice(0, at);
  if (!Object.hasOwn(network.labels, key)) return false;
  return at < 0 || network.labels[key] === wanted.slice(at + 1);
}

const isPredefined = (network: Network): boolean => predefinedNames.has(network.name);

/** Whether a network passes; values of a key are OR-ed (labels AND-ed), keys AND-ed. Names and ids match by any part of them. */
export function networkMatcher(filters: NetworkFilters, used: (network: Network) => boolean): (network: Network) => boolean {
  const tests: ((network: Network) => boolean)[] = [];
  for (const [key, values] of filters) {
    if (values.length === 0) continue;
    switch (key) {
      case 'driver':
        tests.push((network) => values.includes(network.driver));
        break;
      case 'id':
        tests.push((network) => values.some((value) => network.id.startsWith(value)));
        break;
      case 'name':
        tests.push((network) => values.some((value) => network.name.includes(value)));
        break;
      case 'label':
        tests.push((network) => values.every((value) => hasLabel(network, value)));
        break;
      case 'label!':
        tests.push((network) => !values.some((value) => hasLabel(network, value)));
        break;
      case 'scope':
        tests.push((network) => values.includes(network.scope));
        break;
      case 'type':
        if (values.some((value) => value !== 'custom' && value !== 'builtin'))
          throw invalid(`invalid filter: 'type'='${values.join(',').slice(0, 64)}'`);
        tests.push((network) => values.includes(isPredefined(network) ? 'builtin' : 'custom'));
        break;
      case 'dangling': {
        const flags = values.map((value) => parseFlag(key, value));
        tests.push((network) => flags.every((dangling) => dangling === (!used(network) && !isPredefined(network))));
        break;
      }
      case 'until': {
        const moments = values.map(parseMoment);
        tests.push((network) => moments.every((moment) => Date.parse(network.created) < moment));
        break;
      }
      default:
        throw invalid(`invalid filter '${key.slice(0, 64)}'`);
    }
  }
  return (network) => tests.every((test) => test(network));
}

function parseFlag(key: string, value: string): boolean {
  if (value === '1' || value === 'true') return true;
  if (value === '0' || value === 'false') return false;
  throw invalid(`invalid filter '${key}=${value.slice(0, 64)}'`);
}

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** A unix time, a date, or how long ago (`24h`, `1h30m`); milliseconds since 1970. */
function parseMoment(text: string): number {
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text) * 1000;
  if (/^(\d+(\.\d+)?(ms|s|m|h))+$/.test(text)) {
    const parts = text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g);
    return Date.now() - [...parts].reduce((sum, [, count, unit]) => sum + Number(count) * (UNIT_MS[unit ?? ''] ?? 0), 0);
  }
  const moment = Date.parse(text);
  if (Number.isNaN(moment)) throw invalid(`invalid filter 'until=${text.slice(0, 64)}'`);
  return moment;
}
