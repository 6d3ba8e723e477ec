import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseChallenges } from './auth.js';
import { Secret } from './credentials.js';
import { nextLink } from './registry-client.js';
import { parseRetryAfter, registryError } from './registry-error.js';
import { Semaphore } from './semaphore.js';

const parsed = (header: string): [string, Record<string, string>][] =>
  parseChallenges(header).map(({ scheme, parameters }) => [scheme, Object.fromEntries(parameters)]);

describe('a challenge', () => {
  it.each<[string, [string, Record<string, string>][]]>([
    [
      'Bearer realm="https://auth.example/token",service="registry.example",scope="repository:a/b:pull,push"',
      [['bearer', { realm: 'https://auth.example/token', service: 'registry.example', scope: 'repository:a/b:pull,push' }]],
    ],
    ['Basic realm="with \\"quotes\\", and a comma"', [['basic', { realm: 'with "quotes", and a comma' }]]],
    ['BASIC Realm=plain', [['basic', { realm: 'plain' }]]],
    [
      'Negotiate, Bearer realm="x" , service = y, Basic realm="z"',
      [
        ['negotiate', {}],
        ['bearer', { realm: 'x', service: 'y' }],
        ['basic', { realm: 'z' }],
      ],
    ],
    ['', []],
    ['"nonsense', []],
    ['Bearer realm=', [['bearer', {}]]],
  ])('%j', (header, expected) => {
    expect(parsed(header)).toEqual(expected);
  });

  it('is bounded, and reads anything without breaking', () => {
    expect(() => parseChallenges('a'.repeat(20_000))).toThrow('too long');
    expect(parseChallenges(Array.from({ length: 50 }, (_, index) => `s${index} a=b`).join(', '))).toHaveLength(8);
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(...'aB=", \\\t;/'), maxLength: 60 }), (header) => {
        expect(Array.isArray(parseChallenges(header))).toBe(true);
      }),
      { numRuns: 1000 },
    );
  });
});

describe('what a registry says', () => {
  it('of the next page', () => {
    expect(nextLink('</v2/a/tags/list?last=b&n=1>; rel="next"')).toBe('/v2/a/tags/list?last=b&n=1');
    expect(nextLink('<x>; rel="prev", <y>; rel=next')).toBe('y');
    expect(nextLink('<x>; rel="prev"')).toBeUndefined();
    expect(nextLink('')).toBeUndefined();
  });

  it('of its errors', () => {
    const error = (status: number, body: string): string => registryError(status, Buffer.from(body), undefined).message;
    expect(error(404, '{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{"Tag":"x"}}]}')).toBe(
      'manifest unknown: manifest unknown',
    );
    expect(error(401, '{"details":"incorrect username or password"}')).toBe('incorrect username or password');
    expect(error(502, '<html>Bad gateway</html>')).toBe('unexpected status code 502');
    expect(error(400, '{"errors":[{"code":"X","message":"a\\u001b[31m\\nb"}]}')).toBe('x: a [31m b');
    expect(registryError(429, Buffer.alloc(0), '3').transient).toBe(true);
    expect(registryError(404, Buffer.alloc(0), undefined).transient).toBe(false);
  });

  it('of when to come again', () => {
    const now = Date.parse('2024-01-01T00:00:00Z');
    expect(parseRetryAfter('0', now)).toBe(0);
    expect(parseRetryAfter('3600', now)).toBe(60_000);
    expect(parseRetryAfter('Mon, 01 Jan 2024 00:00:07 GMT', now)).toBe(7_000);
    expect(parseRetryAfter('soon', now)).toBeUndefined();
    expect(parseRetryAfter(undefined, now)).toBeUndefined();
  });
});

describe('a semaphore', () => {
  it('lets those that wait in by turns, and forgets who went away', async () => {
    const places = new Semaphore(() => 1);
    const stay = new AbortController().signal;
    const gone = new AbortController();
    const order: string[] = [];
    const leave = await places.acquire(stay);
    expect(places.full).toBe(true);
    const first = places.acquire(stay).then((left) => (order.push('first'), left));
    const lost = places.acquire(gone.signal);
    const second = places.acquire(stay).then((left) => (order.push('second'), left));
    gone.abort(new Error('gone'));
    await expect(lost).rejects.toThrow('gone');
    leave();
    leave();
    (await first)();
    (await second)();
    expect(order).toEqual(['first', 'second']);
    expect(places.full).toBe(false);
  });
});

describe('a secret', () => {
  it('does not print', () => {
    const secret = new Secret('hunter2');
    expect([String(secret), JSON.stringify({ secret }), `${secret}`]).toEqual(['***', '{"secret":"***"}', '***']);
    expect(secret.reveal()).toBe('hunter2');
  });
});
