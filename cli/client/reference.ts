/** An image's name, taken apart as far as this program must know it. */
export interface Reference {
  /** As people write it: without Docker Hub's host and without `library/`. */
  name: string;
  tag: string | undefined;
  digest: string | undefined;
}

/** @throws Error with Docker's words when the text names no image */
export const parseReference = (text: string): Reference => {
  const at = text.indexOf('@');
  const digest = at < 0 ? undefined : text.slice(at + 1);
  const rest = at < 0 ? text : text.slice(0, at);
  const colon = rest.indexOf(':', rest.lastIndexOf('/') + 1);
  const full = colon < 0 ? rest : rest.slice(0, colon);
  const tag = colon < 0 ? undefined : rest.slice(colon + 1);
  const path = full.replace(/^[^/]*[.:][^/]*\/|^localhost\//, '');
  if (path !== path.toLowerCase()) throw new Error(`invalid reference format: repository name (${path}) must be lowercase`);
  if (/^[a-f0-9]{64}$/.test(full)) throw new Error(`invalid repository name (${full}), cannot specify 64-byte hexadecimal strings`);
  const component = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;
  const valid = path !== '' && path.split('/').every((part) => component.test(part));
  if (
    !valid ||
    (tag !== undefined && !/^\w[\w.-]{0,127}$/.test(tag)) ||
    (digest !== undefined && !/^[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[a-fA-F0-9]{32,}$/.test(digest))
  ) {
    throw new Error('invalid reference format');
  }
  const name = full.replace(/^(index\.)?docker\.io\//, '').replace(/^library\/(?=[^/]+$)/, '');
  return { name, tag, digest };
};

/** The name with `:latest` where nothing more exact was said. */
export const withDefaultTag = (text: string): string => {
  const { name, tag, digest } = parseReference(text);
  return `${name}${tag === undefined ? (digest === undefined ? ':latest' : '') : `:${tag}`}${digest === undefined ? '' : `@${digest}`}`;
};
