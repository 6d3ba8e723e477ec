import { invalid } from '../contracts/errors.js';
import type { RegistryAuth } from '../image/images.js';
import { limits } from './limits.js';
import { parseStrictJson, type Json } from './strict-json.js';

/**
 * Credentials from `X-Registry-Auth`: base64 of JSON in the URL-safe or the standard alphabet, padded or not. Absent, empty,
 * `null` and `{}` all mean none.
 */
export function decodeRegistryAuth(header: string | string[] | undefined): RegistryAuth | undefined {
  const encoded = (Array.isArray(header) ? header[0] : header)?.trim() ?? '';
  if (encoded === '') return undefined;
  if (encoded.length > limits.registryAuth) throw invalid('invalid X-Registry-Auth header: too long');
  // Node reads both alphabets, but skips what belongs to neither.
  if (!/^[A-Za-z0-9+/_-]*={0,2}$/.test(encoded)) throw invalid('invalid X-Registry-Auth header: illegal base64 data');
  const source = Buffer.from(encoded, 'base64').toString('utf8').trim();
  if (source === '') return undefined;
  let decoded: Json;
  try {
    decoded = parseStrictJson(source);
  } catch {
    // The parser's message would quote from the secret.
    throw invalid('invalid X-Registry-Auth header: invalid JSON');
  }
  if (decoded === null) return undefined;
  if (typeof decoded !== 'object' || Array.isArray(decoded)) throw invalid('invalid X-Registry-Auth header: an object is expected');
  return registryAuth(decoded);
}

/** The same from a JSON object, as the body of POST /auth is. `undefined` when it holds no credential. */
export function registryAuth(given: Readonly<Record<string, unknown>>): RegistryAuth | undefined {
  const folded = new Map(Object.entries(given).map(([key, value]) => [key.toLowerCase(), typeof value === 'string' ? value : '']));
  let username = folded.get('username') ?? '';
  let password = folded.get('password') ?? '';
  const joined = folded.get('auth') ?? '';
  if (username === '' && joined !== '') {
    const pair = Buffer.from(joined, 'base64').toString('utf8');
    const colon = pair.indexOf(':');
    if (colon > 0) {
      username = pair.slice(0, colon);
      // Old clients padded with zero bytes.
      password = pair.slice(colon + 1).replace(/\0+$/, '');
    }
  }
  const auth: RegistryAuth = {
    username,
    password,
    identityToken: folded.get('identitytoken') ?? '',
    registryToken: folded.get('registrytoken') ?? '',
    serverAddress: folded.get('serveraddress') ?? '',
  };
  return auth.username === '' && auth.identityToken === '' && auth.registryToken === '' ? undefined : auth;
}
