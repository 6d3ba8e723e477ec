import { describe, optionalMethods, type Method } from './methods.js';
import { messages } from './messages.js';

/** Every method with the JSON Schema of its request and its answer, as one document for authors in other languages. */
export function publishedSchema(): object {
  const part = (schema: object | 'stream' | undefined): object => {
    if (schema === undefined) return { description: 'an empty body' };
    if (schema === 'stream') return { description: 'bytes that are not JSON' };
    return schema;
  };
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'The Docker plugin protocol',
    methods: Object.fromEntries(
      (Object.keys(messages) as Method[]).map((method) => {
        const { request, response } = describe(method);
        return [method, { optional: optionalMethods.has(method), request: part(request), response: part(response) }];
      }),
    ),
  };
}
