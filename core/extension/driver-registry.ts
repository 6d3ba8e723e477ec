import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { EngineError, isKind, messageOf, notFound, unavailable } from '../contracts/errors.js';
import type { ClusterStore } from '../contracts/cluster.js';
import type { Host } from '../contracts/host.js';
import type {
  Capability,
  DriverContracts,
  DriverEnv,
  DriverKind,
  DriverManifest,
  DriverSource,
  Logger,
  Probe,
} from '../contracts/manifest.js';

/** An opened driver and what it declared. */
export interface OpenDriver<K extends DriverKind> {
  readonly name: string;
  readonly driver: DriverContracts[K];
  has(capability: Capability): boolean;
}

export interface RegistryEnv {
  readonly dataRoot: string;
  readonly execRoot: string;
  readonly instance: string;
  readonly host: Host;
  readonly cluster?: ClusterStore;
  readonly log: Logger;
  /** The user's options for one driver. */
  optionsFor(kind: DriverKind, name: string): Readonly<Record<string, string>>;
}

/** Milliseconds that a list over all drivers waits for one of them. */
const PATIENCE = 700;

async function inTime<T>(answer: Promise<T>, who: string): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(unavailable(`${who}: no answer within ${PATIENCE} ms`)), PATIENCE);
  try {
    return await Promise.race([answer, late]);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * (kind, name) to an open driver. Each source is asked in turn; a driver is opened once, when it is first asked for,
 * and callers that come meanwhile wait for that one opening. A failed opening is not remembered: the next call tries again.
 */
export class DriverRegistry {
  private readonly opened = new Map<string, Promise<OpenDriver<DriverKind>>>();

  constructor(
    private readonly sources: readonly DriverSource[],
    private readonly env: RegistryEnv,
  ) {}

  async get<K extends DriverKind>(kind: K, name: string): Promise<OpenDriver<K>> {
    const key = `${kind}/${name}`;
    let pending = this.opened.get(key);
    if (!pending) {
      pending = this.open(kind, name) as Promise<OpenDriver<DriverKind>>;
      this.opened.set(key, pending);
      pending.catch(() => this.opened.delete(key));
    }
    return (await pending) as unknown as OpenDriver<K>;
  }

  /**
   * Every driver of a kind that can be met now, strangers included, opened, with the reasons of those that cannot. Who did not
   * answer in time is a problem, too; the opening goes on, for whoever asks next.
   */
  async all<K extends DriverKind>(kind: K): Promise<{ drivers: OpenDriver<K>[]; problems: string[] }> {
    const names = new Set(this.sources.flatMap((source) => [...source.names(kind), ...(source.candidates?.(kind) ?? [])]));
    const drivers: OpenDriver<K>[] = [];
    const problems: string[] = [];
    await Promise.all(
      [...names].map(async (name) => {
        try {
          drivers.push(await inTime(this.get(kind, name), `${kind} driver ${name}`));
        } catch (error) {
          // A plugin of another kind was among those asked.
          if (!isKind(error, 'not-found')) problems.push(messageOf(error));
        }
      }),
    );
    return { drivers: drivers.toSorted((a, b) => (a.name < b.name ? -1 : 1)), problems };
  }

  /** Whether a driver lives in another process: its answers may take long, and it may be away. Asks nobody. */
  isRemote(kind: DriverKind, name: string): boolean {
    return !this.sources.some((source) => !source.remote && source.names(kind).includes(name));
  }

  /** What was declared, without opening. */
  async manifest<K extends DriverKind>(kind: K, name: string): Promise<DriverManifest<K>> {
    for (const source of this.sources) {
      const manifest = await source.find(kind, name);
      if (manifest) return manifest;
    }
    const known = `built in: ${this.names(kind).join(', ') || 'none'}`;
    if (this.isLeftOut(kind, name)) {
      throw new EngineError('not-found', `the ${kind} driver ${name} was left out of this build (${known})`);
    }
    throw notFound(`${kind} driver`, `${name} (${known})`);
  }

  /** Whether there is such a driver, and whoever made this build did not want it. */
  isLeftOut(kind: DriverKind, name: string): boolean {
    return this.leftOut(kind).includes(name);
  }

  leftOut(kind: DriverKind): string[] {
    return this.sources.flatMap((source) => source.leftOut?.(kind) ?? []);
  }

  async probe(kind: DriverKind, name: string): Promise<Probe> {
    const manifest = await this.manifest(kind, name);
    try {
      return await manifest.probe(this.envFor(kind, name));
    } catch (error) {
      return { ok: false, reason: messageOf(error) };
    }
  }

  names(kind: DriverKind): string[] {
    return [...new Set(this.sources.flatMap((source) => source.names(kind)))];
  }

  async close(): Promise<void> {
    const drivers = await Promise.allSettled(this.opened.values());
    this.opened.clear();
    for (const settled of drivers) {
      if (settled.status !== 'fulfilled') continue;
      await settled.value.driver
        .close()
        .catch((error: unknown) => this.env.log.warn('closing a driver failed', { driver: settled.value.name, error: messageOf(error) }));
    }
  }

  private async open<K extends DriverKind>(kind: K, name: string): Promise<OpenDriver<K>> {
    const manifest = await this.manifest(kind, name);
    const env = this.envFor(kind, name);
    const probe = await manifest.probe(env);
    if (!probe.ok) throw unavailable(`${kind} driver ${name} cannot serve on this host: ${probe.reason}`);
    await mkdir(env.root, { recursive: true, mode: 0o700 });
    await mkdir(env.runRoot, { recursive: true, mode: 0o700 });
    const capabilities = new Set(manifest.capabilities);
    try {
      const driver = await manifest.open(env);
      return { name: manifest.name, driver, has: (capability) => capabilities.has(capability) };
    } catch (error) {
      if (error instanceof EngineError) throw error;
      throw new EngineError('system', `${kind} driver ${name} did not open: ${messageOf(error)}`, { cause: error });
    }
  }

  private envFor(kind: DriverKind, name: string): DriverEnv {
    return {
      root: join(this.env.dataRoot, kind, name),
      runRoot: join(this.env.execRoot, kind, name),
      instance: this.env.instance,
      options: this.env.optionsFor(kind, name),
      host: this.env.host,
      ...(this.env.cluster && { cluster: this.env.cluster }),
      log: this.env.log,
    };
  }
}
