import type { Maybe, Part } from './handlers.js';

export interface Volume {
  readonly name: string;
  /** Where it is on the host while it is mounted. */
  readonly mountpoint?: string;
  /** RFC 3339. */
  readonly createdAt?: string;
  /** Shown by inspect as it is. */
  readonly status?: Record<string, unknown>;
}

/** What the author of a volume plugin writes. Refuse with a {@link PluginError}. */
export interface VolumePlugin {
  /** `global`: the same volume on every host. `local` unless told. */
  readonly scope?: 'local' | 'global';
  /** Making what exists succeeds: an engine that lost an answer asks again. */
  create(name: string, options: Readonly<Record<string, string>>): Maybe<void>;
  /** `not-found` when there is none. */
  get(name: string): Maybe<Volume>;
  list(): Maybe<readonly Volume[]>;
  /** Removing what is absent succeeds. */
  remove(name: string): Maybe<void>;
  /** Where the content is on the host. Engines mount the same volume several times, also for one `user`: count them. */
  mount(name: string, user: string): Maybe<string>;
  /** Ends one mount; ending what never began succeeds. */
  unmount(name: string, user: string): Maybe<void>;
}

const wire = ({ name, mountpoint, createdAt, status }: Volume): { Name: string } => ({
  Name: name,
  ...(mountpoint && { Mountpoint: mountpoint }),
  ...(createdAt && { CreatedAt: createdAt }),
  ...(status && { Status: status }),
});

export function volumePart(plugin: VolumePlugin): Part {
  return {
    kind: 'VolumeDriver',
    json: {
      'VolumeDriver.Create': async ({ Name, Opts }) => {
        await plugin.create(Name, Opts ?? {});
        return {};
      },
      'VolumeDriver.Remove': async ({ Name }) => {
        await plugin.remove(Name);
        return {};
      },
      'VolumeDriver.Mount': async ({ Name, ID }) => ({ Mountpoint: await plugin.mount(Name, ID) }),
      'VolumeDriver.Unmount': async ({ Name, ID }) => {
        await plugin.unmount(Name, ID);
        return {};
      },
      'VolumeDriver.Path': async ({ Name }) => ({ Mountpoint: (await plugin.get(Name)).mountpoint ?? '' }),
      'VolumeDriver.Get': async ({ Name }) => ({ Volume: wire(await plugin.get(Name)) }),
      'VolumeDriver.List': async () => ({ Volumes: (await plugin.list()).map(wire) }),
      'VolumeDriver.Capabilities': async () => ({ Capabilities: { Scope: plugin.scope ?? 'local' } }),
    },
  };
}
