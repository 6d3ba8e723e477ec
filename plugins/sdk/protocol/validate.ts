import type { JsonSchema } from './schema.js';

/** What is wrong with a value, with the place; `undefined` when it is as the schema says. */
export function whyInvalid(value: unknown, schema: JsonSchema, place = ''): string | undefined {
  const types = schema.type === undefined ? undefined : [schema.type].flat();
  if (types && !types.some((type) => hasType(value, type))) return `${place || 'the value'} must be ${types.join(' or ')}`;
  if (schema.enum && !schema.enum.includes(value as string)) return `${place || 'the value'} must be one of ${schema.enum.join(', ')}`;
  if (schema.pattern !== undefined && typeof value === 'string' && !new RegExp(schema.pattern, 'u').test(value))
    return `${place || 'the value'} must match ${schema.pattern}`;
  if (Array.isArray(value)) {
    for (const [index, item] of value.entries()) {
      const wrong = schema.items && whyInvalid(item, schema.items, `${place}[${index}]`);
      if (wrong) return wrong;
    }
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  for (const name of schema.required ?? []) {
    if (!Object.hasOwn(value, name)) return `${place || 'the value'} must have ${name}`;
  }
  for (const [name, item] of Object.entries(value)) {
    const known = schema.properties && Object.hasOwn(schema.properties, name) ? schema.properties[name] : schema.additionalProperties;
    if (typeof known !== 'object') continue;
    const wrong = whyInvalid(item, known, place ? `${place}.${name}` : name);
    if (wrong) return wrong;
  }
  return undefined;
}

function hasType(value: unknown, type: string): boolean {
  switch (type) {
    case 'null':
      return value === null;
    case 'array':
      return Array.isArray(value);
    case 'object':
      return typeof value === 'object' && value !== null && !Array.isArray(value);
    case 'integer':
      return Number.isInteger(value);
    default:
      return typeof value === type;
  }
}

/**
 * Gives members the case of the schema, for Go reads names case-insensitively and the engines that plugins were written for are
 * Go; an exact name wins over another spelling. Members that the schema does not know are left out.
 */
export function canonical(value: unknown, schema: JsonSchema): unknown {
  if (Array.isArray(value)) return schema.items ? value.map((item) => canonical(item, schema.items as JsonSchema)) : value;
  if (typeof value !== 'object' || value === null) return value;
  const result: Record<string, unknown> = Object.create(null) as Record<string, unknown>;
  if (!schema.properties) {
    const values = schema.additionalProperties;
    for (const [name, item] of Object.entries(value)) result[name] = typeof values === 'object' ? canonical(item, values) : item;
    return result;
  }
  const folded = new Map(Object.keys(schema.properties).map((name) => [name.toLowerCase(), name]));
  for (const [given, item] of Object.entries(value)) {
    const name = folded.get(given.toLowerCase());
    if (name === undefined || (given !== name && Object.hasOwn(value, name))) continue;
    result[name] = canonical(item, schema.properties[name] ?? {});
  }
  return result;
}
