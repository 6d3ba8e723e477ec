import type { Readable } from 'node:stream';
import type { Maybe, Part } from './handlers.js';

export type ChangeKind = 'modified' | 'added' | 'deleted';

/** The wire's numbers are the positions. */
export const changeKinds: readonly ChangeKind[] = ['modified', 'added', 'deleted'];

export interface NewLayer {
  readonly parent?: string;
  /** A container's layer, not an image's. */
  readonly writable: boolean;
  readonly options: Readonly<Record<string, string>>;
}

/** What the author of a storage plugin writes: layers by id, each on at most one parent. */
export interface StoragePlugin {
  /** `home` is a folder of the plugin's own. */
  init(home: string, options: readonly string[]): Maybe<void>;
  create(id: string, layer: NewLayer): Maybe<void>;
  /** Removing what is absent succeeds. */
  remove(id: string): Maybe<void>;
  exists(id: string): Maybe<boolean>;
  /** Mounts the layer with its parents below it and says where. Calls nest. */
  mount(id: string): Maybe<string>;
  unmount(id: string): Maybe<void>;
  /** Fills a layer from an uncompressed archive and says how many bytes it added. */
  applyDiff(id: string, parent: string | undefined, archive: Readable): Maybe<number>;
  diff(id: string, parent: string | undefined): Maybe<Readable>;
  changes(id: string, parent: string | undefined): Maybe<readonly { readonly path: string; readonly kind: ChangeKind }[]>;
  size(id: string, parent: string | undefined): Maybe<number>;
  status?(): Maybe<readonly (readonly [string, string])[]>;
  metadata?(id: string): Maybe<Readonly<Record<string, string>>>;
  cleanup?(): Maybe<void>;
}

export function storagePart(plugin: StoragePlugin): Part {
  const create =
    (writable: boolean) =>
    async ({ ID, Parent, StorageOpt }: { ID: string; Parent?: string | null; StorageOpt?: Record<string, string> | null }) => {
      await plugin.create(ID, { ...(Parent && { parent: Parent }), writable, options: StorageOpt ?? {} });
      return {};
    };
  return {
    kind: 'GraphDriver',
    json: {
      'GraphDriver.Init': async ({ Home, Opts }) => {
        await plugin.init(Home, Opts ?? []);
        return {};
      },
      'GraphDriver.Capabilities': async () => ({ Capabilities: {} }),
      'GraphDriver.Create': create(false),
      'GraphDriver.CreateReadWrite': create(true),
      'GraphDriver.Remove': async ({ ID }) => {
        await plugin.remove(ID);
        return {};
      },
      'GraphDriver.Get': async ({ ID }) => ({ Dir: await plugin.mount(ID) }),
      'GraphDriver.Put': async ({ ID }) => {
        await plugin.unmount(ID);
        return {};
      },
      'GraphDriver.Exists': async ({ ID }) => ({ Exists: await plugin.exists(ID) }),
      'GraphDriver.Status': async () => ({ Status: ((await plugin.status?.()) ?? []).map((row) => [...row]) }),
      'GraphDriver.GetMetadata': async ({ ID }) => ({ Metadata: { ...(await plugin.metadata?.(ID)) } }),
      'GraphDriver.Cleanup': async () => {
        await plugin.cleanup?.();
        return {};
      },
      'GraphDriver.Changes': async ({ ID, Parent }) => ({
        Changes: (await plugin.changes(ID, Parent || undefined)).map(({ path, kind }) => ({ Path: path, Kind: changeKinds.indexOf(kind) })),
      }),
      'GraphDriver.DiffSize': async ({ ID, Parent }) => ({ Size: await plugin.size(ID, Parent || undefined) }),
    },
    streams: {
      'GraphDriver.Diff': async ({ ID, Parent }) => plugin.diff(ID, Parent || undefined),
      'GraphDriver.ApplyDiff': async ({ id, parent }, archive) => ({ Size: await plugin.applyDiff(id, parent || undefined, archive) }),
    },
  };
}
