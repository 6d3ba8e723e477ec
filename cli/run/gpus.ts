import { csvFields } from './csv.js';
import type { DeviceRequest } from './body.js';

/** `all`, `2`, or `driver=nvidia,count=2,capabilities=compute`. */
export const gpuRequest = (text: string): DeviceRequest => {
  const request: DeviceRequest & { Capabilities: string[][] } = { Count: 0, Capabilities: [], Options: {} };
  const seen = new Set<string>();
  for (const field of csvFields(text)) {
    const at = field.indexOf('=');
    const [key, value] = at < 0 ? ['count', field] : [field.slice(0, at).toLowerCase(), field.slice(at + 1)];
    if (seen.has(key)) throw new Error(`gpu request key '${key}' can be specified only once`);
    seen.add(key);
    switch (key) {
      case 'driver':
        request.Driver = value;
        break;
      case 'count':
        if (value !== 'all' && !/^[+-]?\d+$/.test(value))
          throw new Error(`invalid count (${value}): value must be either "all" or an integer: invalid syntax`);
        request.Count = value === 'all' ? -1 : Number(value);
        break;
      case 'device':
        request.DeviceIDs = value.split(',');
        break;
      case 'capabilities':
        request.Capabilities = [[...new Set([...value.split(','), 'gpu'])]];
        break;
      case 'options':
        request.Options = Object.fromEntries(
          csvFields(value).map((option) => [option.split('=', 1)[0] as string, option.slice(option.indexOf('=') + 1)]),
        );
        break;
      default:
        throw new Error(`unexpected key '${key}' in '${field}'`);
    }
  }
  if (request.Count === 0 && request.DeviceIDs === undefined) request.Count = 1;
  if (request.Capabilities.length === 0) request.Capabilities = [['gpu']];
  return request;
};
