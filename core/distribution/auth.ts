import { EngineError } from '../contracts/errors.js';
import { JsonReader, parseJson } from '../content/json.js';
import { limits } from '../content/limits.js';
import { Secret, type RegistryAuth } from './credentials.js';
import type { Endpoint, Endpoints } from './endpoints.js';
import { registryError, RegistryError } from './registry-error.js';
import { readBody, type Transport } from './transport.js';

/** One way of proving who asks, as a WWW-Authenticate header offers it. */
export interface Challenge {
  /** Lower case: `bearer`, `basic`. */
  readonly scheme: string;
  /** Names in lower case. */
  readonly parameters: ReadonlyMap<string, string>;
}

const TOKEN = /[!#$%&'*+.^_`|~0-9A-Za-z-]+/y;
const QUOTED = /"((?:[^"\\]|\\.)*)"/y;
const SEPARATOR = /[ \t,]*/y;
const EQUALS = /[ \t]*=[ \t]*/y;

/** Parses the header's list of challenges (RFC 9110, 11.6.1). What cannot be read ends the list. */
export function parseChallenges(header: string): Challenge[] {
  if (header.length > limits.challengeBytes)
    throw new EngineError('system', 'the registry sent an authentication challenge that is too long');
  const challenges: { scheme: string; parameters: Map<string, string> }[] = [];
  let at = 0;
  const take = (pattern: RegExp): RegExpExecArray | undefined => {
    pattern.lastIndex = at;
    const match = pattern.exec(header);
    if (match) at += match[0].length;
    return match ?? undefined;
  };
  for (;;) {
    take(SEPARATOR);
    const word = take(TOKEN)?.[0];
    if (word === undefined) return challenges;
    const current = challenges.at(-1);
    const before = at;
    if (current && take(EQUALS)) {
      const value = take(QUOTED)?.[1]?.replace(/\\(.)/g, '$1') ?? take(TOKEN)?.[0];
      if (value === undefined) return challenges;
      current.parameters.set(word.toLowerCase(), value);
    } else {
      at = before;
      if (challenges.length >= limits.challenges) return challenges;
      challenges.push({ scheme: word.toLowerCase(), parameters: new Map() });
    }
  }
}

interface TokenAnswer {
  readonly token: Secret;
  readonly refreshToken: string;
  /** On the monotonic clock, milliseconds. */
  readonly expiresAt: number;
}

/** Seconds that a token counts when its server does not say, and the least that is believed. */
const DEFAULT_LIFE = 60;
const CLIENT_ID = 'docker';

/**
 * Proves to one endpoint, for one repository, who asks. Credentials go to that endpoint's origin (basic) and to the token
 * server that it names (bearer), never over plain HTTP when the endpoint itself is reached by TLS.
 */
export class Authorizer {
  private challenge: Challenge | undefined;
  private readonly tokens = new Map<string, TokenAnswer>();
  /** Set when a token server gave one and it was asked for. */
  refreshToken = '';

  constructor(
    private readonly transport: Transport,
    private readonly endpoints: Endpoints,
    private readonly endpoint: Endpoint,
    private readonly auth: RegistryAuth | undefined,
    private readonly options: { offline: boolean } = { offline: false },
  ) {}

  /** The Authorization header for a request with these scopes, or `undefined` as long as the endpoint asked for nothing. */
  async header(scopes: readonly string[], signal: AbortSignal): Promise<Secret | undefined> {
    if (this.auth?.registryToken) return new Secret(`Bearer ${this.auth.registryToken}`);
    if (!this.challenge) return undefined;
    if (this.challenge.scheme === 'basic') return this.basic();
    return new Secret(`Bearer ${(await this.token(this.challenge, scopes, signal)).token.reveal()}`);
  }

  /** Learns from an answer 401. True when asking again may help. */
  learn(header: string | undefined, scopes: readonly string[]): boolean {
    const known = this.challenge;
    const offered = header === undefined ? [] : parseChallenges(header);
    const chosen = offered.find(({ scheme }) => scheme === 'bearer') ?? offered.find(({ scheme }) => scheme === 'basic');
    if (!chosen || this.auth?.registryToken) return false;
    this.challenge = chosen;
    const hadToken = this.tokens.delete(key(scopes));
    if (chosen.scheme === 'basic') return this.hasPassword && known === undefined;
    return known === undefined || hadToken;
  }

  private get hasPassword(): boolean {
    return this.auth !== undefined && this.auth.username !== '' && this.auth.password !== '';
  }

  private basic(): Secret | undefined {
    if (!this.auth || !this.hasPassword) return undefined;
    return new Secret(`Basic ${Buffer.from(`${this.auth.username}:${this.auth.password}`).toString('base64')}`);
  }

  private async token(challenge: Challenge, scopes: readonly string[], signal: AbortSignal): Promise<TokenAnswer> {
    const kept = this.tokens.get(key(scopes));
    if (kept && kept.expiresAt > performance.now()) return kept;
    const answer = await this.fetchToken(challenge, scopes, signal);
    this.tokens.set(key(scopes), answer);
    if (answer.refreshToken !== '') this.refreshToken = answer.refreshToken;
    return answer;
  }

  private async fetchToken(challenge: Challenge, scopes: readonly string[], signal: AbortSignal): Promise<TokenAnswer> {
    const realm = URL.parse(challenge.parameters.get('realm') ?? '');
    if (!realm || (realm.protocol !== 'https:' && realm.protocol !== 'http:') || realm.username !== '')
      throw new EngineError('system', `registry ${this.endpoint.origin} names no usable token server`);
    const plainAllowed = this.endpoint.origin.startsWith('http:') || (await this.endpoints.isInsecure(realm.host));
    if (realm.protocol === 'http:' && !plainAllowed)
      throw new EngineError(
        'system',
        `registry ${this.endpoint.origin} names the token server ${realm.origin}, which is not reached by TLS`,
      );
    const service = challenge.parameters.get('service') ?? '';
    const tls = await this.endpoints.tlsFor(realm.host);
    const identity = this.auth?.identityToken ?? '';
    const response = await (identity === ''
      ? this.transport.send({ method: 'GET', url: this.tokenUrl(realm, service, scopes), headers: this.basicHeader(), tls, signal })
      : this.transport.send({
          method: 'POST',
          url: realm,
          headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
          body: Buffer.from(
            new URLSearchParams({
              grant_type: 'refresh_token',
              refresh_token: identity,
              service,
              client_id: CLIENT_ID,
              scope: scopes.join(' '),
            }).toString(),
          ),
          tls,
          signal,
        }));
    if (response.statusCode !== 200) {
      const body = await readBody(response, limits.errorBytes, 'the error');
      const failure = registryError(response.statusCode ?? 0, body, response.headers['retry-after']);
      // Servers answer wrong credentials in many ways, all of them 4xx.
      const refused = failure.status === 401 || failure.status === 403 || failure.status === 400;
      throw refused
        ? new RegistryError('unauthorized', failure.message, failure.status, failure.code || 'UNAUTHORIZED', undefined)
        : failure;
    }
    return readToken(await readBody(response, limits.tokenBytes, 'the token'));
  }

  private tokenUrl(realm: URL, service: string, scopes: readonly string[]): URL {
    const url = new URL(realm);
    if (service !== '') url.searchParams.set('service', service);
    for (const scope of scopes) url.searchParams.append('scope', scope);
    if (this.auth && this.hasPassword) url.searchParams.set('account', this.auth.username);
    if (this.options.offline) {
      url.searchParams.set('offline_token', 'true');
      url.searchParams.set('client_id', CLIENT_ID);
    }
    return url;
  }

  private basicHeader(): Record<string, string> {
    const basic = this.basic();
    return basic ? { Authorization: basic.reveal() } : {};
  }
}

const key = (scopes: readonly string[]): string => scopes.toSorted().join(' ');

function readToken(body: Buffer): TokenAnswer {
  const reader = JsonReader.of(parseJson(body, "the token server's answer"), "the token server's answer");
  const token = reader.string('token') || reader.string('access_token');
  if (token === '' || !/^[\x21-\x7e]+$/.test(token)) throw new EngineError('system', 'the token server gave no usable token');
  const life = Math.max(reader.number('expires_in'), DEFAULT_LIFE);
  // A little before its end: it must still be good when it arrives.
  return { token: new Secret(token), refreshToken: reader.string('refresh_token'), expiresAt: performance.now() + life * 900 };
}
