import { EngineError, notFound } from '@gantry/core/contracts/errors.js';
import type { Host } from '@gantry/core/contracts/host.js';
import type { VolumeDriver, VolumeInfo } from '@gantry/core/contracts/volume.js';
import { misbehaved } from '../host/answers.js';
import { Unreached } from '../host/client.js';
import type { Plugin } from '../host/plugin.js';
import type { ResponseOf } from '../sdk/protocol/methods.js';
import { hostFolder } from './paths.js';

type WireVolume = NonNullable<ResponseOf<'VolumeDriver.Get'>['Volume']>;

/** What List may show: more than users may type, and nothing that could be taken for a path. */
const SHOWN = /^[^/\0\s]{1,255}$/;

/** A volume driver in another process. Keeps nothing; every promise of the contract is asked of the plugin. */
export class RemoteVolumeDriver implements VolumeDriver {
  constructor(
    private readonly plugin: Plugin,
    readonly scope: 'local' | 'global',
    private readonly host: Host,
    /** Folders of the engine itself, which no volume may be. */
    private readonly ownRoots: readonly string[],
  ) {}

  async create(name: string, options: Readonly<Record<string, string>>): Promise<VolumeInfo> {
    // As Docker asks: what the plugin has already is taken over as it is.
    const known = await this.known(name);
    if (known) return known;
    await this.plugin.call('VolumeDriver.Create', { Name: name, Opts: Object.keys(options).length > 0 ? { ...options } : null });
    // Not asked for once more, as Docker does not: where it is shows when it is mounted or inspected.
    return { name, mountpoint: '', createdAt: '' };
  }

  async get(name: string): Promise<VolumeInfo> {
    const info = await this.known(name);
    if (!info) throw notFound('volume', name);
    return info;
  }

  async list(): Promise<VolumeInfo[]> {
    const { Volumes } = await this.plugin.call('VolumeDriver.List', {}, { patience: 0 });
    return (Volumes ?? []).map((volume) => this.info(volume, 'VolumeDriver.List'));
  }

  async remove(name: string): Promise<void> {
    try {
      await this.plugin.call('VolumeDriver.Remove', { Name: name });
    } catch (error) {
      // A removal that was cut off is repeated, and then the plugin may say that there is nothing.
      if (error instanceof Unreached || (await this.known(name))) throw error;
    }
  }

  async mount(name: string, user: string): Promise<string> {
    const { Mountpoint } = await this.plugin.call('VolumeDriver.Mount', { Name: name, ID: user });
    if (!Mountpoint) throw misbehaved(this.plugin.name, 'VolumeDriver.Mount', `no Mountpoint for volume ${name}`);
    try {
      return await hostFolder(this.plugin, 'VolumeDriver.Mount', Mountpoint, this.host, this.ownRoots);
    } catch (error) {
      // The plugin counts this mount, and nobody else will end it.
      await this.unmount(name, user).catch(() => undefined);
      throw error;
    }
  }

  async unmount(name: string, user: string): Promise<void> {
    try {
      await this.plugin.call('VolumeDriver.Unmount', { Name: name, ID: user });
    } catch (error) {
      // Docker logs what a plugin refuses here and goes on: a container must be removable.
      if (!(error instanceof EngineError) || error.kind === 'unavailable' || error.kind === 'cancelled') throw error;
      this.plugin.refused('VolumeDriver.Unmount', error);
    }
  }

  async close(): Promise<void> {}

  /** `undefined` when the plugin says that there is none, by whichever error it has for that. */
  private async known(name: string): Promise<VolumeInfo | undefined> {
    try {
      const { Volume } = await this.plugin.call('VolumeDriver.Get', { Name: name });
      if (!Volume) return undefined;
      if (Volume.Name !== name)
        throw misbehaved(
          this.plugin.name,
          'VolumeDriver.Get',
          `asked for ${name} it speaks of ${JSON.stringify(Volume.Name.slice(0, 80))}`,
        );
      return this.info(Volume, 'VolumeDriver.Get');
    } catch (error) {
      if (!(error instanceof EngineError) || error.kind === 'unavailable' || error.kind === 'cancelled') throw error;
      if (error.message.startsWith(`plugin ${this.plugin.name}: `)) throw error;
      return undefined;
    }
  }

  private info(volume: WireVolume, method: string): VolumeInfo {
    if (!SHOWN.test(volume.Name))
      throw misbehaved(this.plugin.name, method, `${JSON.stringify(volume.Name.slice(0, 80))} is no volume's name`);
    const mountpoint = volume.Mountpoint ?? '';
    const shown = mountpoint !== '' && this.plugin.place.hostPath ? this.plugin.place.hostPath(mountpoint) : mountpoint;
    return {
      name: volume.Name,
      mountpoint: shown,
      createdAt: volume.CreatedAt ?? '',
      ...(volume.Status ? { status: volume.Status } : {}),
    };
  }
}

/** Anything but an answer that says `global` is local. */
export async function volumeScope(plugin: Plugin): Promise<'local' | 'global'> {
  try {
    const { Capabilities } = await plugin.call('VolumeDriver.Capabilities', {});
    return Capabilities?.Scope?.toLowerCase() === 'global' ? 'global' : 'local';
  } catch (error) {
    if (error instanceof Unreached) throw error;
    return 'local';
  }
}
