/** JSON Schema, the part of it that the protocol needs. */
export interface JsonSchema {
  readonly type?: string | readonly string[];
  readonly description?: string;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: JsonSchema | boolean;
  readonly items?: JsonSchema;
  readonly enum?: readonly (string | number | null)[];
  readonly pattern?: string;
}

declare const meaning: unique symbol;

/** A schema that knows the type of what it describes, so that types and schemas cannot drift. */
export interface Schema<T> extends JsonSchema {
  readonly [meaning]?: T;
}

export type Infer<S> = S extends Schema<infer T> ? T : never;
type Fields = Readonly<Record<string, Schema<unknown>>>;
type Required<F extends Fields> = { -readonly [K in keyof F]: Infer<F[K]> };
type Optional<F extends Fields> = { -readonly [K in keyof F]?: Infer<F[K]> | null };

export const text = (description?: string): Schema<string> => ({ type: 'string', ...(description && { description }) });
export const flag = (description?: string): Schema<boolean> => ({ type: 'boolean', ...(description && { description }) });
export const integer = (description?: string): Schema<number> => ({ type: 'integer', ...(description && { description }) });
export const oneOf = <const T extends string>(...words: readonly T[]): Schema<T> => ({ type: 'string', enum: words });
export const anything = (description?: string): Schema<unknown> => (description ? { description } : {});
export const list = <T>(items: Schema<T>, description?: string): Schema<T[]> => ({
  type: 'array',
  items,
  ...(description && { description }),
});
export const mapOf = <T>(values: Schema<T>, description?: string): Schema<Record<string, T>> => ({
  type: 'object',
  additionalProperties: values,
  ...(description && { description }),
});

/** `null` is Go's way to write an empty list or map. */
export const nullable = <T>(schema: Schema<T>): Schema<T | null> => ({
  ...schema,
  ...(schema.type === undefined ? {} : { type: [...[schema.type].flat(), 'null'] }),
  ...(schema.enum === undefined ? {} : { enum: [...schema.enum, null] }),
});

/** Members of other names are ignored by whoever reads; `null` in an optional one is its absence. */
export function object<R extends Fields, O extends Fields>(required: R, optional?: O): Schema<Required<R> & Optional<O>> {
  const properties: Record<string, JsonSchema> = { ...required };
  for (const [name, schema] of Object.entries(optional ?? {})) properties[name] = nullable(schema);
  return { type: 'object', properties, required: Object.keys(required) };
}
