import { messageOf } from '../contracts/errors.js';
import type { Digest } from '../contracts/ids.js';
import type { Logger } from '../contracts/manifest.js';
import type { Content } from '../content/content.js';
import { limits } from '../content/limits.js';
import type { Descriptor } from '../content/manifest.js';
import type { Layers } from '../layer/layers.js';
import type { Intent, Journal } from '../state/journal.js';
import { KeyedLock } from '../state/keyed-lock.js';
import type { Events } from '../system/system.js';
import { parseImageConfig } from './image-config.js';
import { ImageStore, holderOf, type ImageRecord, type StoredLayer } from './image-store.js';

export interface NewImage {
  /** Digest of its configuration, which is in the content store. */
  readonly id: Digest;
  readonly layers: readonly StoredLayer[];
  readonly manifest: Descriptor | undefined;
  readonly parent?: string;
  /** Full forms. */
  readonly names: readonly string[];
}

const UNFINISHED = new Set(['image.work', 'image.register', 'image.remove']);

/**
 * Makes images appear and disappear, each as one step for everybody else. What an operation gathers is held by the
 * operation's own name until the image holds it; the journal names the holder, so a start after a crash drops what has no image.
 */

export class ImageRegistrar {
  private readonly locks = new KeyedLock();

  constructor(
    readonly store: ImageStore,
    private readonly content: Content,
    private readonly layers: Layers,
    private readonly journal: Journal,
    private readonly events: Events,
    private readonly log: Logger,
  ) {}

  /** Finishes or undoes what a crash cut off. Called once, after the layers were restored. */
  async recover(): Promise<void> {
    const cut = this.journal.pending().filter((intent) => UNFINISHED.has(intent.kind));
    for (const intent of cut) await this.undo(intent);
    if (cut.length > 0) await this.content.collect();
  }

  /** Runs an operation that gathers blobs and layers under an owner's name; afterwards they are kept only by an image. */
  async gathering<T>(work: (owner: string) => Promise<T>): Promise<T> {
    // The number is never given twice, so the name is this operation's alone.
    const intent = this.journal.begin('image.work', 'work');
    const owner = ownerOf(intent);
    try {
      const result = await work(owner);
      await this.letGo(intent, owner);
      return result;
    } catch (error) {
      await this.letGo(intent, owner);
      // What was gathered for nothing goes at once, but for what a pull keeps for the next one.
      await this.content.collect().catch((failed: unknown) => this.log.warn('collecting blobs failed', { error: messageOf(failed) }));
      throw error;
    }
  }

  /** The layers are unpacked (for `driver`) and the blobs are there: makes them an image, with names, in one transaction. */
  async register(image: NewImage, driver: string): Promise<{ record: ImageRecord; isNew: boolean }> {
    return this.exclusively(image.id, async () => {
      const config = parseImageConfig(await this.content.read(image.id, limits.configBytes));
      const known = this.store.get(image.id);
      const intent = this.journal.begin('image.register', image.id);
      // What it came with first stays: the same image may come a second time in other compression.
      const layers = known && known.manifest ? known.layers : image.layers;
      const manifest = known?.manifest ?? image.manifest;
      try {
        if (layers.length > 0) await this.layers.prepare(driver, layers, image.id);
      } catch (error) {
        if (!known) await this.layers.release(image.id).catch(() => undefined);
        this.journal.end(intent);
        throw error;
      }
      const record: ImageRecord = {
        id: image.id,
        image: config,
        layers,
        manifest,
        parent: image.parent ?? known?.parent ?? '',
        lastTagged: image.names.length > 0 ? new Date().toISOString() : (known?.lastTagged ?? ''),
      };
      this.store.put(record, image.names, () => this.journal.end(intent));
      return { record, isNew: !known };
    });
  }

  /** Takes an image away with its names; its layers and blobs go unless somebody else holds them. Absent is fine. */
  async unregister(id: Digest): Promise<void> {
    const intent = this.journal.begin('image.remove', id);
    this.store.remove(id);
    await this.undo(intent);
  }

  /** One change at a time of what one image is and whether it is there. */
  exclusively<T>(id: Digest, work: () => Promise<T>): Promise<T> {
    return this.locks.run(id, work);
  }

  event(action: string, id: string, name: string, record: ImageRecord | undefined): void {
    this.events.publish({ type: 'image', action, id, attributes: { ...record?.image.config.labels, name } });
  }

  private async undo(intent: Intent): Promise<void> {
    if (intent.kind === 'image.work') return this.letGo(intent, ownerOf(intent));
    const id = intent.subject as Digest;
    if (this.store.get(id)) return this.journal.end(intent);
    this.content.release(holderOf(id));
    await this.letGo(intent, id);
  }

  /** The intent stays when the layers cannot be let go, and the next start tries again. */
  private async letGo(intent: Intent, owner: string): Promise<void> {
    try {
      await this.layers.release(owner);
      this.content.release(owner);
      this.journal.end(intent);
    } catch (error) {
      this.log.warn('letting go of layers failed and will be tried again', { owner, error: messageOf(error) });
    }
  }
}

const ownerOf = (intent: Intent): string => `image-work-${intent.id}`;
