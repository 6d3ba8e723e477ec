import { describe, expect, it } from 'vitest';
import { registryError } from './registry-error.js';

const said = (status: number, body: string): string => registryError(status, Buffer.from(body), undefined).message;

describe('what a registry answered', () => {
  it('is told in its own words', () => {
    expect(said(404, '{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}')).toBe('manifest unknown: manifest unknown');
    expect(said(500, '{"details":"no space"}')).toBe('no space');
  });

  it('is told by its status without any, a missing login in words', () => {
    expect(said(502, '<html>')).toBe('unexpected status code 502');
    expect(said(401, '')).toBe('unauthorized: authentication required');
  });
});
