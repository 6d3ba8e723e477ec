import { invalid } from '../contracts/errors.js';
import { isDigest, type Digest } from '../contracts/ids.js';

/** A name of an image, whole: nothing in it is left to defaults but the tag. */
export interface Reference {
  /** Registry host, with port when it has one: `docker.io`, `localhost:5000`. */
  readonly domain: string;
  /** Repository in that registry: `library/busybox`. */
  readonly path: string;
  readonly tag: string | undefined;
  /** Wins over the tag when both are there. */
  readonly digest: Digest | undefined;
}

export const DEFAULT_DOMAIN = 'docker.io';
const LEGACY_DEFAULT_DOMAIN = 'index.docker.io';
const OFFICIAL = 'library/';
const DEFAULT_TAG = 'latest';
const NAME_LENGTH = 255;

const LABEL = '(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])';
const DOMAIN = new RegExp(`^(?:${LABEL}(?:\\.${LABEL})*|\\[[a-fA-F0-9:]+\\])(?::[0-9]+)?$`);
const COMPONENT = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;
const TAG = /^\w[\w.-]{0,127}$/;
const HEX64 = /^[0-9a-f]{64}$/;

const malformed = (): Error => invalid('invalid reference format');

/** Splits at the first slash when what is before it can only be a host: it has a dot or a port, is `localhost`, or is not lower case. */
function splitDomain(name: string): { domain: string; path: string } {
  const slash = name.indexOf('/');
  const first = name.slice(0, slash);
  const isHost = slash !== -1 && (/[.:]/.test(first) || first === 'localhost' || first !== first.toLowerCase());
  let domain = isHost ? first : DEFAULT_DOMAIN;
  let path = isHost ? name.slice(slash + 1) : name;
  if (domain === LEGACY_DEFAULT_DOMAIN) domain = DEFAULT_DOMAIN;
  if (domain === DEFAULT_DOMAIN && !path.includes('/')) path = OFFICIAL + path;
  return { domain, path };
}

/** Parses `[host[:port]/]path[:tag][@digest]` in familiar or full form. Fails in Docker's words. Adds no tag. */
export function parseReference(text: string): Reference {
  if (HEX64.test(text)) throw invalid(`invalid repository name (${text}), cannot specify 64-byte hexadecimal strings`);
  const split = splitDomain(text);
  const colon = split.path.indexOf(':');
  const remote = colon === -1 ? split.path : split.path.slice(0, colon);
  if (remote.toLowerCase() !== remote) throw invalid(`invalid reference format: repository name (${remote}) must be lowercase`);

  let rest = split.path;
  let digest: Digest | undefined;
  const at = rest.indexOf('@');
  if (at !== -1) {
    const found = rest.slice(at + 1);
    if (!isDigest(found))
      throw /^[a-z0-9+._-]+:[0-9a-fA-F]{32,}$/.test(found) ? invalid('unsupported digest algorithm or length') : malformed();
    digest = found;
    rest = rest.slice(0, at);
  }
  let tag: string | undefined;
  const tagAt = rest.indexOf(':');
  if (tagAt !== -1) {
    tag = rest.slice(tagAt + 1);
    if (!TAG.test(tag)) throw malformed();
    rest = rest.slice(0, tagAt);
  }
  if (!DOMAIN.test(split.domain) || !rest.split('/').every((component) => COMPONENT.test(component))) throw malformed();
  if (split.domain.length + 1 + rest.length > NAME_LENGTH) throw invalid(`repository name must not be more than ${NAME_LENGTH} characters`);
  return { domain: split.domain, path: rest, tag, digest };
}

/** A reference from a name and a separate tag or digest, as the API's `fromImage` and `tag` give them. */
export function withTagOrDigest(name: Reference, tagOrDigest: string): Reference {
  if (tagOrDigest === '') return name;
  if (isDigest(tagOrDigest)) return { ...name, digest: tagOrDigest };
  if (!TAG.test(tagOrDigest)) throw malformed();
  return { ...name, tag: tagOrDigest, digest: undefined };
}

/** `latest` when there is neither tag nor digest. */
export const tagged = (reference: Reference): Reference =>
  reference.tag === undefined && reference.digest === undefined ? { ...reference, tag: DEFAULT_TAG } : reference;

/** Without tag and digest. */
export const nameOnly = (reference: Reference): Reference => ({ ...reference, tag: undefined, digest: undefined });

export const fullName = (reference: Reference): string => `${reference.domain}/${reference.path}`;

/** Full form, with tag and digest as they are there: the key of a record. */
export const fullForm = (reference: Reference): string => fullName(reference) + suffix(reference);

/** As a user writes it: no default registry, no `library/`. */
export function familiarName(reference: Reference): string {
  if (reference.domain !== DEFAULT_DOMAIN) return fullName(reference);
  const official = reference.path.startsWith(OFFICIAL) && !reference.path.slice(OFFICIAL.length).includes('/');
  return official ? reference.path.slice(OFFICIAL.length) : reference.path;
}

export const familiarForm = (reference: Reference): string => familiarName(reference) + suffix(reference);

const suffix = (reference: Reference): string =>
  (reference.tag === undefined ? '' : `:${reference.tag}`) + (reference.digest === undefined ? '' : `@${reference.digest}`);
