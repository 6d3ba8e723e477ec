import { invalid } from '../contracts/errors.js';
import type { Plugin } from './plugins.js';

/** `enabled` and `capability`; every capability asked for must be there. */
export function pluginMatcher(filters: ReadonlyMap<string, readonly string[]>): (plugin: Plugin) => boolean {
  for (const key of filters.keys()) if (key !== 'enabled' && key !== 'capability') throw invalid(`invalid filter '${key}'`);
  const enabled = (filters.get('enabled') ?? []).map((value) => {
    if (/^(?:1|true)$/i.test(value)) return true;
    if (/^(?:0|false)$/i.test(value)) return false;
    throw invalid(`invalid value for filter 'enabled=${value}'`);
  });
  const capabilities = (filters.get('capability') ?? []).map((value) => value.toLowerCase());
  return (plugin) =>
    (enabled.length === 0 || enabled.includes(plugin.enabled)) &&
    capabilities.every((wanted) => plugin.config.types.some(({ capability }) => capability.toLowerCase() === wanted));
}
