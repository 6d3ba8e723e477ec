import type { Readable } from 'node:stream';
import type { Ajv, ErrorObject, ValidateFunction } from 'ajv';
import type { FastifyInstance, FastifyRequest, FastifySchemaCompiler } from 'fastify';
import { invalid } from '../contracts/errors.js';
import { limits } from './limits.js';
import type { Schema } from './json-schema.js';
import { parseStrictJson, type Json } from './strict-json.js';

/**
 * Reads JSON bodies; what has another content type is handed on as a stream. A request with a JSON schema and a body of
 * another type is refused by {@link compileBodySchema}, one without a body passes whatever its content type: clients send
 * `text/plain` or JSON with nothing behind it.
 */
export function readBodies(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser(
    /^application\/json\s*(;|$)/i,
    { parseAs: 'string', bodyLimit: limits.jsonBody },
    async (_request: FastifyRequest, body: string) => {
      if (body.trim() === '') return undefined;
      const value = parseStrictJson(body);
      if (!compiler) await loadCompiler();
      return value;
    },
  );
  readStreams(app);
}

/** Every body is a stream here, whatever its content type says: archives come under many names. */
export function onlyStreams(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  readStreams(app);
}

function readStreams(app: FastifyInstance): void {
  app.addContentTypeParser('*', { bodyLimit: Number.MAX_SAFE_INTEGER }, (_request, payload, done) => {
    done(null, payload);
  });
}

/**
 * Does `work` with a request's body. When it is refused, what is still on its way is read and dropped, within bounds: a client that
 * is cut off while it sends would see a broken connection in the place of the reason.
 */
export async function withBody<T>(body: Readable, work: (body: Readable) => Promise<T>): Promise<T> {
  try {
    return await work(body);
  } catch (error) {
    let left: number = limits.droppedBody;
    try {
      for await (const chunk of body as AsyncIterable<Buffer>) if ((left -= chunk.length) < 0) break;
    } catch {
      // The client left; the first error is the one to tell.
    }
    throw error;
  }
}

let compiler: Ajv | undefined;

/** Called when the first body is read: a daemon that starts for a `ps` needs none. */
async function loadCompiler(): Promise<void> {
  const { Ajv: AjvClass } = await import('ajv');
  compiler ??= new AjvClass({ strict: false, allErrors: false, coerceTypes: false, useDefaults: false, removeAdditional: false });
}

/** Compiles a schema when its route is first used: a hundred at start would cost a tenth of a second. */
export const compileBodySchema: FastifySchemaCompiler<Schema> = ({ schema, httpPart }) => {
  if (httpPart !== 'body') return () => true;
  let validate: ValidateFunction | undefined;
  return (data: unknown) => {
    if (isStream(data)) return { error: invalid("Content-Type specified must be 'application/json'") };
    const optional = Array.isArray(schema['type']);
    if (data === null || data === undefined) {
      return optional ? { value: {} } : { error: invalid('invalid JSON: got EOF while reading request body') };
    }
    if (!compiler) throw new Error('a body reached its schema before what checks it was loaded');
    validate ??= compiler.compile(schema);
    try {
      const value = canonical(data as Json, schema, '');
      return validate(value) ? { value } : { error: invalid(`invalid JSON: ${explain(validate.errors?.[0])}`) };
    } catch (error) {
      return { error: error as Error };
    }
  };
};

const isStream = (data: unknown): boolean => typeof data === 'object' && data !== null && 'pipe' in data;

function explain(error: ErrorObject | null | undefined): string {
  if (!error) return 'the request body has a wrong form';
  const where = error.instancePath.slice(1).replaceAll('/', '.').replaceAll('~1', '/').replaceAll('~0', '~');
  const types = (error.params as { type?: string | string[] }).type;
  const wanted =
    types === undefined
      ? (error.message ?? 'is wrong')
      : `must be ${[types]
          .flat()
          .filter((type) => type !== 'null')
          .join(' or ')}`;
  return `${where || 'the request body'} ${wanted}`;
}

/** Gives keys the case of the schema, as Go reads them case-insensitively, and leaves out what the schema does not know. Two spellings of one key are refused. */
function canonical(value: Json, schema: Schema, path: string): Json {
  if (Array.isArray(value)) {
    const items = schema['items'] as Schema | undefined;
    return items ? value.map((item, index) => canonical(item, items, `${path}.${index}`)) : value;
  }
  if (value === null || typeof value !== 'object') return value;
  const result: { [key: string]: Json } = Object.create(null) as { [key: string]: Json };
  const properties = schema['properties'] as Readonly<Record<string, Schema>> | undefined;
  if (!properties) {
    const values = schema['additionalProperties'] as Schema | undefined;
    for (const [key, item] of Object.entries(value)) result[key] = values ? canonical(item, values, `${path}.${key}`) : item;
    return result;
  }
  const names = namesOf(properties);
  for (const [key, item] of Object.entries(value)) {
    const name = Object.hasOwn(properties, key) ? key : names.get(key.toLowerCase());
    if (name === undefined) continue;
    if (Object.hasOwn(result, name)) throw invalid(`invalid JSON: ${`${path}.${name}`.slice(1)} is given twice`);
    result[name] = canonical(item, properties[name] ?? {}, `${path}.${name}`);
  }
  return result;
}

const foldedNames = new WeakMap<object, Map<string, string>>();

function namesOf(properties: Readonly<Record<string, Schema>>): Map<string, string> {
  let names = foldedNames.get(properties);
  if (!names) {
    names = new Map(Object.keys(properties).map((name) => [name.toLowerCase(), name]));
    foldedNames.set(properties, names);
  }
  return names;
}
