import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeFilters } from './filters.js';
import { decodeRegistryAuth } from './registry-auth.js';
import { parseStrictJson } from './strict-json.js';
import { rewriteUrl, targetOf } from './version.js';
import type { IncomingMessage } from 'node:http';
import { EngineError, kindOf } from '../contracts/errors.js';

const attempt = <T>(work: () => T): { value: T } | { error: unknown } => {
  try {
    return { value: work() };
  } catch (error) {
    return { error };
  }
};

describe('what strangers send', () => {
  it('reads the same from every JSON text as JSON.parse, or refuses it', () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 5 }), (text) => {
        const strict = attempt(() => parseStrictJson(text));
        if ('error' in strict) expect(strict.error).toBeInstanceOf(EngineError);
        else expect(JSON.stringify(strict.value)).toBe(JSON.stringify(JSON.parse(text)));
      }),
      { numRuns: 500 },
    );
  });

  it('never takes for JSON what JSON.parse does not', () => {
    const pieces = fc.constantFrom(
      '{',
      '}',
      '[',
      ']',
      ',',
      ':',
      '"',
      '\\',
      'a',
      '"a"',
      '1',
      '-',
      '.',
      'e',
      'null',
      'true',
      ' ',
      '\n',
      '\u0000',
      '0',
    );
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 12 }), (parts) => {
        const text = parts.join('');
        const strict = attempt(() => parseStrictJson(text));
        if ('value' in strict) expect(strict.value).toEqual(JSON.parse(text));
        else expect(strict.error).toBeInstanceOf(EngineError);
      }),
      { numRuns: 1000 },
    );
  });

  it('is refused as a bad request and never otherwise, in filters, credentials and paths', () => {
    const odd = fc.oneof(fc.string({ unit: 'binary' }), fc.json(), fc.base64String());
    fc.assert(
      fc.property(odd, (text) => {
        for (const work of [() => decodeFilters(text, ['label']), () => decodeRegistryAuth(text)]) {
          const result = attempt<unknown>(work);
          if ('error' in result && kindOf(result.error) !== 'invalid-parameter') throw result.error;
        }
        const raw = { url: `/images/${text}/json` } as IncomingMessage;
        expect(rewriteUrl(raw)).toMatch(/^\//);
        const { refusal } = targetOf(raw);
        if (refusal && kindOf(refusal) !== 'invalid-parameter') throw refusal;
      }),
      { numRuns: 100 },
    );
  });
});
