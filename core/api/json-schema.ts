/**
 * Words to write request schemas with. Everything is nullable, since Go clients send null for what they leave empty and
 * Docker reads null as "not given"; nothing is converted, and unknown keys are left out by the reader of the body.
 */
export type Schema = Readonly<Record<string, unknown>>;

export const text: Schema = { type: ['string', 'null'] };
export const integer: Schema = { type: ['integer', 'null'] };
export const number: Schema = { type: ['number', 'null'] };
export const bool: Schema = { type: ['boolean', 'null'] };
export const list = (items: Schema): Schema => ({ type: ['array', 'null'], items });
export const texts: Schema = list({ type: 'string' });
/** Docker took a plain string here once, and it still costs nothing to. */
export const textsOrText: Schema = { type: ['array', 'string', 'null'], items: { type: 'string' } };
export const map = (values: Schema): Schema => ({ type: ['object', 'null'], additionalProperties: values });
export const textMap: Schema = map(text);
/** A set as Go writes it: keys to empty objects. */
export const set: Schema = map({ type: ['object', 'null'] });
export const object = (properties: Readonly<Record<string, Schema>>): Schema => ({ type: ['object', 'null'], properties });
/** As {@link object}, but the request must have a body. */
export const required = (schema: Schema): Schema => ({ ...schema, type: 'object' });
