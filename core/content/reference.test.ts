import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { familiarForm, fullForm, parseReference, tagged, withTagOrDigest } from './reference.js';

const DIGEST = `sha256:${'ab'.repeat(32)}`;

describe('an image reference', () => {
  it.each([
    ['busybox', 'docker.io/library/busybox', 'busybox'],
    ['busybox:1', 'docker.io/library/busybox:1', 'busybox:1'],
    ['index.docker.io/library/busybox', 'docker.io/library/busybox', 'busybox'],
    ['docker.io/me/app:x', 'docker.io/me/app:x', 'me/app:x'],
    ['localhost/app', 'localhost/app', 'localhost/app'],
    ['localhost:5000/a/b:t', 'localhost:5000/a/b:t', 'localhost:5000/a/b:t'],
    ['[::1]:5000/a', '[::1]:5000/a', '[::1]:5000/a'],
    ['Host.Example/a', 'Host.Example/a', 'Host.Example/a'],
    ['HOST/a', 'HOST/a', 'HOST/a'],
    [`a@${DIGEST}`, `docker.io/library/a@${DIGEST}`, `a@${DIGEST}`],
    [`a:t@${DIGEST}`, `docker.io/library/a:t@${DIGEST}`, `a:t@${DIGEST}`],
    ['a__b/c.d/e--f', 'docker.io/a__b/c.d/e--f', 'a__b/c.d/e--f'],
  ])('%s is %s, shown as %s', (text, full, familiar) => {
    const reference = parseReference(text);
    expect(fullForm(reference)).toBe(full);
    expect(familiarForm(reference)).toBe(familiar);
  });

  it.each([
    ['Busybox', 'invalid reference format: repository name (library/Busybox) must be lowercase'],
    ['localhost:5000/Foo:Bar', 'invalid reference format: repository name (Foo) must be lowercase'],
    ['', 'invalid reference format'],
    ['a:', 'invalid reference format'],
    ['a::b', 'invalid reference format'],
    [':5000/a', 'invalid reference format'],
    ['a//b', 'invalid reference format'],
    ['a..b', 'invalid reference format'],
    ['-a', 'invalid reference format'],
    ['a/../b', 'invalid reference format'],
    ['a\n', 'invalid reference format'],
    ['a@sha256:12', 'invalid reference format'],
    [`a@md5:${'a'.repeat(32)}`, 'unsupported digest algorithm'],
    [`a@sha256:${'A'.repeat(64)}`, 'invalid reference format: repository name'],
    [`a:${'t'.repeat(129)}`, 'invalid reference format'],
    ['a'.repeat(256), 'repository name must not be more than 255 characters'],
    ['ab'.repeat(32), 'cannot specify 64-byte hexadecimal strings'],
  ])('%j is refused', (text, message) => {
    // An upper-case digest fails by whichever rule sees it first; it must fail.
    if (text.includes('AAAA')) expect(() => parseReference(text)).toThrow();
    else expect(() => parseReference(text)).toThrow(message);
  });

  it('takes a tag or digest that is given beside it', () => {
    const name = parseReference('a');
    expect(fullForm(tagged(name))).toBe('docker.io/library/a:latest');
    expect(fullForm(withTagOrDigest(name, 'v1'))).toBe('docker.io/library/a:v1');
    expect(fullForm(withTagOrDigest(name, DIGEST))).toBe(`docker.io/library/a@${DIGEST}`);
    expect(() => withTagOrDigest(name, 'a b')).toThrow('invalid reference format');
  });

  it('reads its own full and familiar form back to itself', () => {
    const component = fc.stringMatching(/^[a-z0-9]{1,8}([._-][a-z0-9]{1,4})?$/);
    const host = fc.constantFrom('', 'localhost/', 'localhost:5000/', 'quay.io/', 'r.example:443/');
    const tag = fc.option(fc.stringMatching(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,10}$/), { nil: undefined });
    fc.assert(
      fc.property(host, fc.array(component, { minLength: 1, maxLength: 3 }), tag, fc.boolean(), (domain, path, label, digest) => {
        const reference = parseReference(domain + path.join('/') + (label === undefined ? '' : `:${label}`) + (digest ? `@${DIGEST}` : ''));
        expect(parseReference(fullForm(reference))).toEqual(reference);
        expect(parseReference(familiarForm(reference))).toEqual(reference);
      }),
    );
  });

  it('either parses to something stable or fails as an invalid parameter, whatever it is given', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 80, unit: fc.constantFrom(...'aA0.:/@-_[]\n sha256') }), (text) => {
        try {
          const reference = parseReference(text);
          expect(parseReference(fullForm(reference))).toEqual(reference);
        } catch (error) {
          expect((error as { kind?: string }).kind).toBe('invalid-parameter');
        }
      }),
      { numRuns: 2000 },
    );
  });
});
