import { conflict, isKind, messageOf } from '../contracts/errors.js';
import { chainIds, hexOf, type ChainId, type Digest } from '../contracts/ids.js';
import type { Logger } from '../contracts/manifest.js';
import type { Content } from '../content/content.js';
import { familiarForm, fullForm, fullName, parseReference, tagged, type Reference } from '../content/reference.js';
import type { Layers } from '../layer/layers.js';
import { boolean, imageTest } from './filters.js';
import type { ImageRecord, ImageStore } from './image-store.js';
import type { DeletedImage, ImageFilters } from './images.js';
import { isIdOf, noSuchImage, resolve } from './lookup.js';
import type { ImageRegistrar } from './registrar.js';

/** Who uses an image: a running container when there is one, else any. */
export type ImageGuard = (imageId: Digest) => { id: string; running: boolean } | undefined;

const short = (id: string): string => id.replace(/^sha256:/, '').slice(0, 12);

interface Refusal {
  readonly message: string;
  /** Force does not help. */
  readonly hard: boolean;
  /** Because a container uses it. */
  readonly used: boolean;
}

/** Takes names and images away by the rules that users of Docker know: a name first, the image when nothing else names or uses it. */
export class ImageRemoval {
  constructor(
    private readonly store: ImageStore,
    private readonly registrar: ImageRegistrar,
    private readonly content: Content,
    private readonly layers: Layers,
    private readonly log: Logger,
    private readonly guard: ImageGuard,
  ) {}

  async remove(name: string, options: { force: boolean; prune: boolean }): Promise<DeletedImage[]> {
    const { id } = resolve(this.store, name);
    const deleted = await this.registrar.exclusively(id, () => this.removeLocked(id, name, options));
    if (deleted.some((one) => 'deleted' in one)) await this.content.collect();
    return deleted;
  }

  /** Images that nobody names (`dangling`, the default) or that nobody uses. */
  async prune(filters: ImageFilters): Promise<{ deleted: DeletedImage[]; spaceReclaimed: number }> {
    const test = imageTest(this.store, filters, new Set(['dangling', 'label', 'label!', 'until']));
    const asked = filters.get('dangling');
    const dangling = asked && asked.length > 0 ? boolean('dangling', asked) : true;
    const sizes = new Map(this.layers.places().map((place) => [place.chainId as string, place.size]));
    const deleted: DeletedImage[] = [];
    for (const record of this.store.all().filter(test)) {
      const names = this.store.namesOf(record.id);
      if (names.length === 0 && this.store.childrenOf(record.id).length > 0) continue;
      if (dangling && (names.some((name) => !name.includes('@')) || this.store.childrenOf(record.id).length > 0)) continue;
      for (const one of names.length > 0 ? names : [record.id]) deleted.push(...(await this.quietly(one)));
    }
    await this.content.collect();
    const spaceReclaimed = deleted.reduce((sum, one) => sum + ('deleted' in one ? (sizes.get(one.deleted) ?? 0) : 0), 0);
    return { deleted, spaceReclaimed };
  }

  /** What is in use stays, without a word; what else fails is told to the log and does not stop the others. */
  private async quietly(name: string): Promise<DeletedImage[]> {
    try {
      const { id } = resolve(this.store, name);
      return await this.registrar.exclusively(id, () => this.removeLocked(id, name, { force: false, prune: true }));
    } catch (error) {
      if (!isKind(error, 'conflict') && !isKind(error, 'not-found'))
        this.log.warn('an image could not be pruned', { image: name, error: messageOf(error) });
      return [];
    }
  }

  private async removeLocked(id: Digest, name: string, { force, prune }: { force: boolean; prune: boolean }): Promise<DeletedImage[]> {
    const record = this.store.get(id);
    if (!record) throw noSuchImage(name);
    const deleted: DeletedImage[] = [];
    let untaggedByName = false;
    if (isIdOf(id, name)) {
      if (this.isSingleReference(id)) {
        const refusal = this.refusal(record, { force, ignoreNames: true });
        if (refusal) throw this.conflictOf(record, refusal);
        for (const one of this.store.namesOf(id)) this.untag(one, record, deleted);
      }
    } else {
      const reference = tagged(parseReference(name));
      const user = this.guard(id);
      if (!force && user && this.isSingleReference(id))
        throw conflict(
          `conflict: unable to remove repository reference "${familiarForm(reference)}" (must force) - container ${short(user.id)} is using its referenced image ${short(id)}`,
        );
      this.untagReference(reference, record, deleted);
      if (this.store.namesOf(id).length > 0) return deleted;
      untaggedByName = true;
    }
    await this.deleteImage(record, deleted, { force, prune, quiet: untaggedByName });
    return deleted;
  }

  /** A tag goes together with the digests of its repository when it was the last tag there. */
  private untagReference(reference: Reference, record: ImageRecord, deleted: DeletedImage[]): void {
    const isDigest = reference.digest !== undefined;
    this.untag(fullForm(isDigest ? { ...reference, tag: undefined } : reference), record, deleted);
    if (isDigest) return;
    const ofRepository = this.store.namesOf(record.id).filter((name) => fullName(parseReference(name)) === fullName(reference));
    if (ofRepository.every((name) => name.includes('@'))) for (const name of ofRepository) this.untag(name, record, deleted);
  }

  private untag(name: string, record: ImageRecord, deleted: DeletedImage[]): void {
    this.store.removeName(name);
    deleted.push({ untagged: familiarForm(parseReference(name)) });
    this.registrar.event('untag', record.id, record.id, record);
  }

  private async deleteImage(
    record: ImageRecord,
    deleted: DeletedImage[],
    options: { force: boolean; prune: boolean; quiet: boolean },
  ): Promise<void> {
    const refusal = this.refusal(record, { force: options.force, ignoreNames: false });
    if (refusal) {
      // The name is gone, as asked; that the image stays for a container or for a child is no error then.
      const wanted = refusal.used || this.store.namesOf(record.id).length > 0 || this.store.childrenOf(record.id).length > 0;
      if (options.quiet && wanted) return;
      throw this.conflictOf(record, refusal);
    }
    for (const name of this.store.namesOf(record.id)) this.untag(name, record, deleted);
    await this.registrar.unregister(record.id);
    this.registrar.event('delete', record.id, record.id, record);
    deleted.push({ deleted: record.id });
    for (const chainId of this.goneLayers(record)) deleted.push({ deleted: chainId });

    const parent = record.parent === '' || !options.prune ? undefined : this.store.get(record.parent as Digest);
    if (parent && this.store.namesOf(parent.id).length === 0 && !this.refusal(parent, { force: false, ignoreNames: false }))
      await this.registrar.exclusively(parent.id, () => this.deleteImage(parent, deleted, { force: false, prune: true, quiet: true }));
  }

  /** Top first, as they were taken down. */
  private goneLayers(record: ImageRecord): ChainId[] {
    const kept = new Set<string>(this.layers.places().map((place) => place.chainId));
    for (const other of this.store.all()) for (const one of chainIds(other.image.diffIds)) kept.add(one);
    return chainIds(record.image.diffIds)
      .filter((one) => !kept.has(one))
      .toReversed();
  }

  private refusal(record: ImageRecord, { force, ignoreNames }: { force: boolean; ignoreNames: boolean }): Refusal | undefined {
    if (this.store.childrenOf(record.id).length > 0) return { message: 'image has dependent child images', hard: true, used: false };
    const user = this.guard(record.id);
    if (user?.running) return { message: `image is being used by running container ${short(user.id)}`, hard: true, used: true };
    if (force) return undefined;
    if (!ignoreNames && this.store.namesOf(record.id).length > 0)
      return { message: 'image is referenced in multiple repositories', hard: false, used: false };
    if (user) return { message: `image is being used by stopped container ${short(user.id)}`, hard: false, used: true };
    return undefined;
  }

  private conflictOf(record: ImageRecord, { message, hard }: Refusal): Error {
    return conflict(`conflict: unable to delete ${hexOf(record.id).slice(0, 12)} (${hard ? 'cannot' : 'must'} be forced) - ${message}`);
  }

  /** At most one tag, and digests of that tag's repository alone. */
  private isSingleReference(id: Digest): boolean {
    const names = this.store.namesOf(id).map(parseReference);
    if (names.length <= 1) return true;
    const tags = names.filter((name) => name.digest === undefined);
    return tags.length <= 1 && new Set(names.map(fullName)).size === 1;
  }
}
