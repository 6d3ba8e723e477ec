import { EngineError } from '../contracts/errors.js';
import { chainIds, hexOf, isDigest, type Digest } from '../contracts/ids.js';
import { familiarForm, fullForm, parseReference, tagged, type Reference } from '../content/reference.js';
import type { Layers } from '../layer/layers.js';
import type { ImageRecord, ImageStore } from './image-store.js';
import type { Image } from './images.js';

const HEX64 = /^[0-9a-f]{64}$/;
const PREFIX = /^(?:sha256:)?([0-9a-f]{1,64})$/;

export const noSuchImage = (name: string): EngineError => new EngineError('not-found', `No such image: ${name}`);

/** What a user wrote: a whole id, or a name (which may also be the beginning of an id). */
type Asked = { readonly id: Digest } | { readonly reference: Reference };

function readAsked(name: string): Asked {
  if (HEX64.test(name)) return { id: `sha256:${name}` as Digest };
  if (isDigest(name)) return { id: name };
  return { reference: parseReference(name) };
}

/**
 * Finds an image in the order that Docker's clients rely on: a whole id; a name, where what looks like hex digits is a name
 * first; the beginning of an id, when it is one image's alone. `undefined` when there is none; a name that is none fails.
 */
export function lookup(store: ImageStore, name: string): ImageRecord | undefined {
  // `sha256:abc…` reads as a repository with a tag, too, so the beginning of an id is tried after that fails.
  const prefix = PREFIX.exec(name)?.[1];
  const byPrefix = (): ImageRecord | undefined => (prefix === undefined ? undefined : store.byPrefix(prefix));
  const asked = readAsked(name);
  if ('id' in asked) return store.get(asked.id);
  const reference = tagged(asked.reference);
  if (reference.digest !== undefined) return store.named(fullForm({ ...reference, tag: undefined }));
  return store.named(fullForm(reference)) ?? byPrefix();
}

export function resolve(store: ImageStore, name: string): ImageRecord {
  const found = lookup(store, name);
  if (found) return found;
  const asked = readAsked(name);
  throw noSuchImage('id' in asked ? asked.id : familiarForm(tagged(asked.reference)));
}

/** Whether the user named the image by (the beginning of) its id, rather than by one of its names. */
export const isIdOf = (id: Digest, name: string): boolean => id.startsWith(name) || hexOf(id).startsWith(name);

/** An image as the rest of the engine sees it. */
export function viewOf(store: ImageStore, layers: Layers, record: ImageRecord): Image {
  const references = store.namesOf(record.id).map(parseReference);
  const chain = chainIds(record.image.diffIds);
  return {
    id: record.id,
    ...record.image,
    size: chain.reduce((sum, one, index) => sum + (layers.sizeOf(one) ?? record.layers[index]?.size ?? 0), 0),
    repoTags: references.filter(({ digest }) => digest === undefined).map(familiarForm),
    repoDigests: references.filter(({ digest }) => digest !== undefined).map(familiarForm),
    lastTagged: record.lastTagged,
    parent: record.parent,
  };
}
