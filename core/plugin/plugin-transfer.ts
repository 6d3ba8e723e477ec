import { open } from 'node:fs/promises';
import { EngineError, invalid } from '../contracts/errors.js';
import type { Host } from '../contracts/host.js';
import { parseDigest } from '../contracts/ids.js';
import type { Content } from '../content/content.js';
import { ingestBytes } from '../content/ingest.js';
import { limits } from '../content/limits.js';
import { buildManifest, parseManifest, type ImageManifest } from '../content/manifest.js';
import { mediaTypes } from '../content/media-types.js';
import { familiarForm, tagged, type Reference } from '../content/reference.js';
import { Downloads } from '../distribution/downloads.js';
import type { RegistryAuth } from '../distribution/credentials.js';
import { throttled, type ProgressSink } from '../distribution/progress.js';
import { pullError } from '../distribution/pull.js';
import { Pusher } from '../distribution/push.js';
import { Registry } from '../distribution/registry.js';
import type { RegistryClient } from '../distribution/registry-client.js';
import type { Settings } from '../system/settings.js';
import { parsePluginConfig, pluginConfigJson, type PluginConfig } from './plugin-config.js';
import type { PluginContent, PluginLayer } from './plugins.js';

/** A plugin in a registry, looked at and not yet brought here. */
export interface RemotePlugin {
  readonly config: PluginConfig;
  readonly configBytes: Buffer;
  readonly manifest: ImageManifest;
  readonly manifestBytes: Buffer;
  /** Of `manifestBytes`. */
  readonly content: PluginContent['manifest'];
  readonly sources: readonly RegistryClient[];
}

/** What Docker writes as the version of itself into the plugins that it makes. */
const MADE_BY = '27.0.0';

/** Plugins between registries, archives and the content store. */
export class PluginTransfer {
  private readonly registry: Registry;
  private readonly downloads: Downloads;
  private readonly pusher: Pusher;

  constructor(
    settings: Settings,
    private readonly host: Host,
    private readonly content: Content,
  ) {
    this.registry = new Registry(settings);
    this.downloads = new Downloads(host, content, {
      concurrent: settings.maxConcurrentDownloads,
      attempts: settings.maxDownloadAttempts,
    });
    this.pusher = new Pusher(content, this.registry, {
      concurrent: settings.maxConcurrentUploads,
      attempts: settings.maxDownloadAttempts,
    });
  }

  close(): void {
    this.registry.close();
  }

  async look(reference: Reference, auth: RegistryAuth | undefined, signal: AbortSignal): Promise<RemotePlugin> {
    try {
      const clients = await this.registry.forPull(reference, auth, { plugin: true });
      const tagOrDigest = reference.digest ?? reference.tag ?? 'latest';
      const { client, result: fetched } = await this.registry.firstWorking(clients, (one) => one.manifest(tagOrDigest, signal));
      const manifest = parseManifest(fetched.bytes, fetched.mediaType, 'plugin');
      if (manifest.kind !== 'image') throw invalid(`${familiarForm(reference)} is an index, and plugins have none`);
      const configBytes = await client.smallBlob(manifest.config.digest, limits.configBytes, signal);
      return {
        config: parsePluginConfig(configBytes),
        configBytes,
        manifest,
        manifestBytes: fetched.bytes,
        content: { mediaType: manifest.mediaType, digest: fetched.digest, size: fetched.bytes.length },
        sources: clients.slice(clients.indexOf(client)),
      };
    } catch (error) {
      throw pullError(error, reference);
    }
  }

  /** Brings its blobs; `owner` holds them. */
  async fetch(remote: RemotePlugin, owner: string, progress: ProgressSink, signal: AbortSignal): Promise<PluginContent> {
    const { manifest } = remote;
    this.content.hold(owner, [remote.content.digest, manifest.config.digest, ...manifest.layers.map(({ digest }) => digest)]);
    await ingestBytes(this.content, remote.manifestBytes, { digest: remote.content.digest });
    await ingestBytes(this.content, remote.configBytes, { digest: manifest.config.digest });
    const layers = await Promise.all(
      manifest.layers.map(async (layer): Promise<PluginLayer> => {
        const id = layer.digest.slice('sha256:'.length, 'sha256:'.length + 12);
        progress({ id, status: 'Pulling fs layer' });
        const tell = throttled((current: number) => progress({ id, status: 'Downloading', current, total: layer.size }));
        await this.downloads.fetch(layer, remote.sources, (state) => state.phase === 'downloading' && tell(state.current), signal);
        progress({ id, status: 'Download complete' });
        return { ...layer, diffId: await this.diffIdOf(layer.digest) };
      }),
    );
    return { config: remote.config, configDigest: manifest.config.digest, dockerVersion: '', layers, manifest: remote.content };
  }

  /** Lays the layers out in an empty folder, in their order. */
  async unpack(layers: readonly PluginLayer[], target: string): Promise<void> {
    for (const layer of layers) {
      const file = await open(await this.content.path(layer.digest));
      try {
        const { diffId } = await this.host.files.unpack({ target, fd: file.fd, whiteouts: 'delete' });
        if (diffId !== layer.diffId) throw new EngineError('system', `layer ${layer.digest} changed while it was unpacked`);
      } finally {
        await file.close();
      }
    }
  }

  /** A plugin made here: its root file system as one layer, its configuration and manifest, all held by `owner`. */
  async pack(config: PluginConfig, rootfs: string, owner: string): Promise<PluginContent> {
    const layer = await this.packLayer(rootfs, owner);
    const bytes = Buffer.from(JSON.stringify(pluginConfigJson(config, [layer.diffId], MADE_BY)));
    const configDigest = await ingestBytes(this.content, bytes, { owner });
    const described = { mediaType: mediaTypes.dockerPluginConfig, digest: configDigest, size: bytes.length };
    const manifest = buildManifest(mediaTypes.dockerManifest, described, [layer]);
    const digest = await ingestBytes(this.content, manifest, { owner });
    return {
      config,
      configDigest,
      dockerVersion: MADE_BY,
      layers: [layer],
      manifest: { mediaType: mediaTypes.dockerManifest, digest, size: manifest.length },
    };
  }

  async push(
    reference: Reference,
    plugin: PluginContent,
    auth: RegistryAuth | undefined,
    progress: ProgressSink,
    signal: AbortSignal,
  ): Promise<void> {
    const client = await this.pusher.reach(await this.registry.forPush(reference, auth, { plugin: true }), signal);
    const size = (await this.content.size(plugin.configDigest)) ?? 0;
    await this.pusher.push(
      client,
      {
        tag: tagged(reference).tag ?? 'latest',
        manifest: plugin.manifest,
        config: { mediaType: mediaTypes.dockerPluginConfig, digest: plugin.configDigest, size },
        layers: plugin.layers.map((layer) => ({ ...layer, mountFrom: [] })),
      },
      progress,
      signal,
    );
  }

  private async diffIdOf(digest: PluginLayer['digest']): Promise<PluginLayer['diffId']> {
    const file = await open(await this.content.path(digest));
    try {
      return parseDigest((await this.host.files.hashUncompressed(file.fd)).digest);
    } finally {
      await file.close();
    }
  }

  private async packLayer(rootfs: string, owner: string): Promise<PluginLayer> {
    const { files } = this.host;
    const [plain, compressed] = [await this.content.reserve(), await this.content.reserve()];
    try {
      const from = await open(plain.path, 'wx+', 0o600);
      const to = await open(compressed.path, 'wx', 0o600);
      try {
        const packed = await files.packDiff({ tree: rootfs, fd: from.fd });
        // Opened anew, since the first descriptor stands at the end.
        const again = await open(plain.path);
        const result = await files.compress({ from: again.fd, to: to.fd, compression: 'gzip' }).finally(() => again.close());
        await to.sync();
        const blob = { digest: parseDigest(result.compressed.digest), size: result.compressed.size };
        await compressed.adopt(blob, { owner });
        return { ...blob, diffId: parseDigest(packed.digest), mediaType: mediaTypes.dockerLayer };
      } finally {
        await from.close();
        await to.close();
      }
    } finally {
      await plain.abort();
      await compressed.abort();
    }
  }
}
