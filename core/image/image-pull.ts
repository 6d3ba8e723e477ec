import { EngineError, invalid } from '../contracts/errors.js';
import type { Content } from '../content/content.js';
import { formatPlatform, platformRank, type PlatformSpec } from '../content/platform.js';
import { familiarForm, fullForm, fullName, nameOnly, parseReference, withTagOrDigest, type Reference } from '../content/reference.js';
import type { RegistryAuth } from '../distribution/credentials.js';
import type { ProgressSink } from '../distribution/progress.js';
import { partialOf, pullError, type Puller } from '../distribution/pull.js';
import type { Registry } from '../distribution/registry.js';
import type { RegistryClient } from '../distribution/registry-client.js';
import type { Layers } from '../layer/layers.js';
import type { ImageRegistrar } from './registrar.js';

export interface ImagePullRequest {
  readonly name: string;
  /** Tag or digest; with '' the name's own, or else all tags. */
  readonly tag: string;
  readonly platform: PlatformSpec | undefined;
  readonly auth: RegistryAuth | undefined;
  readonly storageDriver: string;
}

/** Pulls what a user names, and gives it that name here. */
export class ImagePull {
  constructor(
    private readonly content: Content,
    private readonly layers: Layers,
    private readonly registry: Registry,
    private readonly puller: Puller,
    private readonly registrar: ImageRegistrar,
  ) {}

  async run(request: ImagePullRequest, progress: ProgressSink, signal: AbortSignal): Promise<void> {
    const reference = withTagOrDigest(parseReference(request.name), request.tag);
    if (fullName(reference) === 'docker.io/library/scratch') throw invalid("'scratch' is a reserved name");
    const clients = await this.registry.forPull(reference, request.auth);
    let references = [reference];
    if (reference.tag === undefined && reference.digest === undefined) references = await this.allTags(reference, clients, signal);
    let downloaded = false;
    for (const one of references) downloaded = (await this.one(one, clients, request, progress, signal)) || downloaded;
    const name = familiarForm(reference);
    progress({ status: downloaded ? `Status: Downloaded newer image for ${name}` : `Status: Image is up to date for ${name}` });
  }

  private async allTags(name: Reference, clients: readonly RegistryClient[], signal: AbortSignal): Promise<Reference[]> {
    const { result: tags } = await this.registry
      .firstWorking(clients, (client) => client.tags(signal))
      .catch((error: unknown) => {
        throw pullError(error, name);
      });
    if (tags.length === 0) throw new EngineError('not-found', `no tags found for ${familiarForm(name)}`);
    return tags.map((tag) => withTagOrDigest(name, tag));
  }

  /** True when the name stands for another image than before. */
  private async one(
    reference: Reference,
    clients: readonly RegistryClient[],
    request: ImagePullRequest,
    progress: ProgressSink,
    signal: AbortSignal,
  ): Promise<boolean> {
    const driver = request.storageDriver || this.layers.defaultDriver.name;
    return this.registrar.gathering(async (owner) => {
      // A driver that is unknown or cannot serve here is told before the first line.
      await this.layers.prepare(driver, [], owner);
      const pulled = await this.puller.pull(
        clients,
        { reference, platform: request.platform, storageDriver: driver, owner },
        progress,
        signal,
      );
      const byDigest = fullForm({ ...nameOnly(reference), digest: pulled.named.digest });
      const byName = reference.digest === undefined ? fullForm(reference) : byDigest;
      const before = this.registrar.store.named(byName)?.id;
      const { record } = await this.registrar.register(
        {
          id: pulled.id,
          layers: pulled.layers,
          manifest: pulled.manifest,
          names: byName === byDigest ? [byDigest] : [byName, byDigest],
        },
        driver,
      );
      this.content.release(partialOf(reference));
      this.registrar.event('pull', familiarForm(reference), familiarForm(nameOnly(reference)), record);
      const { platform } = request;
      if (platform && platformRank(platform, record.image) === undefined)
        progress({
          status: `WARNING: image with reference ${familiarForm(reference)} was found but does not match the specified platform: wanted ${formatPlatform(platform)}, actual: ${formatPlatform(record.image)}`,
        });
      return before !== pulled.id;
    });
  }
}
