import { EngineError, invalid } from '../contracts/errors.js';
import type { Digest } from '../contracts/ids.js';
import { JsonReader, parseJson } from '../content/json.js';
import { limits } from '../content/limits.js';
import { parseManifest, parseRootFs, platformsOf } from '../content/manifest.js';
import type { PlatformSpec } from '../content/platform.js';
import { DEFAULT_DOMAIN, parseReference, tagged } from '../content/reference.js';
import type { RegistryAuth } from '../distribution/credentials.js';
import { pullError } from '../distribution/pull.js';
import type { Registry } from '../distribution/registry.js';
import { boolean } from './filters.js';
import type { ImageFilters } from './images.js';

export interface DistributionInspect {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly size: number;
  readonly platforms: PlatformSpec[];
}

export interface SearchResult {
  readonly name: string;
  readonly description: string;
  readonly stars: number;
  readonly official: boolean;
}

const SEARCH_FILTERS = new Set(['is-official', 'is-automated', 'stars']);
/** How long a question to a registry that no client can cut short may take. */
const PATIENCE = 60_000;

/** The registry that a login is for: `https://index.docker.io/v1/` and nothing at all are the Hub. */
export function registryOf(serverAddress: string): string {
  const host = serverAddress.replace(/^https?:\/\//, '').split('/', 1)[0] ?? '';
  return host === '' || host === 'index.docker.io' || host === 'registry-1.docker.io' ? DEFAULT_DOMAIN : host;
}

/** Questions to a registry that change nothing here. */
export class RegistryQueries {
  constructor(private readonly registry: Registry) {}

  async distribution(name: string, auth: RegistryAuth | undefined): Promise<DistributionInspect> {
    const reference = tagged(parseReference(name));
    const signal = AbortSignal.timeout(PATIENCE);
    const clients = await this.registry.forPull(reference, auth);
    const { client, result } = await this.registry
      .firstWorking(clients, (one) => one.manifest(reference.digest ?? reference.tag ?? '', signal))
      .catch((error: unknown) => {
        throw pullError(error, reference);
      });
    const manifest = parseManifest(result.bytes, result.mediaType);
    const described = { mediaType: manifest.mediaType, digest: result.digest, size: result.bytes.length };
    if (manifest.kind === 'index') return { ...described, platforms: platformsOf(manifest) };
    const config = await client.smallBlob(manifest.config.digest, limits.configBytes, signal);
    return { ...described, platforms: [parseRootFs(config, manifest.layers.length).platform] };
  }

  /** Asks the registry whether it takes the credentials. */
  async login(auth: RegistryAuth): Promise<{ status: string; identityToken: string }> {
    const clients = await this.registry.forLogin(registryOf(auth.serverAddress), auth);
    const { result } = await this.registry.firstWorking(clients, (client) => client.ping(AbortSignal.timeout(PATIENCE)));
    return { status: 'Login Succeeded', identityToken: result };
  }

  async search(term: string, options: { limit: number; filters: ImageFilters; auth: RegistryAuth | undefined }): Promise<SearchResult[]> {
    for (const key of options.filters.keys()) if (!SEARCH_FILTERS.has(key)) throw invalid(`invalid filter '${key}'`);
    const count = options.limit === 0 ? 25 : options.limit;
    if (!Number.isInteger(count) || count < 1 || count > 100) throw invalid(`limit ${options.limit} is outside the range of [1, 100]`);
    if (term.includes('://')) throw invalid(`invalid repository name: repository name (${term}) should not have a scheme`);
    const slash = term.indexOf('/');
    const host = slash === -1 ? '' : term.slice(0, slash);
    const isHost = /[.:]/.test(host) || host === 'localhost';
    const clients = await this.registry.forSearch(isHost ? registryOf(host) : DEFAULT_DOMAIN, options.auth);
    const query = isHost ? term.slice(slash + 1) : term.replace(/^library\//, '');
    const { result: body } = await this.registry.firstWorking(clients, (client) =>
      client.search(query, count, AbortSignal.timeout(PATIENCE)),
    );
    const keep = wanted(options.filters);
    return JsonReader.of(parseJson(body, "the search's answer"), "the search's answer")
      .children('results')
      .map((one) => ({
        name: isHost ? `${host}/${one.string('name')}` : one.string('name'),
        description: one.string('description'),
        stars: one.number('star_count'),
        official: one.boolean('is_official'),
      }))
      .filter(keep)
      .slice(0, count);
  }
}

function wanted(filters: ImageFilters): (one: SearchResult) => boolean {
  const official = filters.get('is-official');
  const isOfficial = official && official.length > 0 ? boolean('is-official', official) : undefined;
  const automated = filters.get('is-automated');
  // Nothing is built automatically any more, as the Hub says.
  if (automated && automated.length > 0 && boolean('is-automated', automated)) return () => false;
  const stars = Math.max(0, ...(filters.get('stars') ?? []).map(starCount));
  return (one) => (isOfficial === undefined || one.official === isOfficial) && one.stars >= stars;
}

function starCount(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new EngineError('invalid-parameter', `invalid filter 'stars=${text.slice(0, 40)}'`);
  return Number(text);
}
