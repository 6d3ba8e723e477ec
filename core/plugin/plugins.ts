import type { Readable } from 'node:stream';
import type { Digest, DiffId } from '../contracts/ids.js';
import type { LogEntry, ReadLogs } from '../contracts/log.js';
import type { RegistryAuth } from '../distribution/credentials.js';
import type { ProgressSink } from '../distribution/progress.js';
import type { PluginConfig } from './plugin-config.js';
import type { Privilege } from './plugin-privileges.js';
import type { PluginSettings } from './plugin-settings.js';

/** A layer of a plugin as it is in the content store. */
export interface PluginLayer {
  readonly digest: Digest;
  readonly diffId: DiffId;
  readonly size: number;
  readonly mediaType: string;
}

/** The bytes of one version of a plugin. */
export interface PluginContent {
  readonly config: PluginConfig;
  /** Of the configuration as it is stored. */
  readonly configDigest: Digest;
  readonly dockerVersion: string;
  /** Bottom first. */
  readonly layers: readonly PluginLayer[];
  /** The manifest as it was pulled, or as it was made at the first push. */
  readonly manifest: { readonly mediaType: string; readonly digest: Digest; readonly size: number };
}

/** The record of one plugin. */
export interface Plugin extends PluginContent {
  readonly id: string;
  /** Familiar form with a tag; what users call it. */
  readonly name: string;
  /** Where it comes from, in full form; '' for one that was made here. */
  readonly reference: string;
  readonly enabled: boolean;
  /** Limit of one call in seconds, as given at enable; 0 for none. */
  readonly timeout: number;
  readonly settings: PluginSettings;
  /** Folder of its root file system, below the plugin's own. */
  readonly rootfs: string;
}

/** What plugins that collect the engine's metrics are given. */
export interface MetricsOffer {
  /** Serves the metrics at `metrics.sock` in this folder, which exists and which the plugin may be able to write. Repeatable. */
  serve(folder: string): Promise<void>;
  /** Ends that; repeatable. */
  leave(folder: string): Promise<void>;
  /** The plugin of this name listens. */
  began(name: string): void;
  /** It is about to be stopped. Never fails, and does not take long. */
  ending(name: string): Promise<void>;
}

/** Where a plugin's process stands, which no record tells. */
export interface PluginLife {
  readonly state: 'stopped' | 'starting' | 'running' | 'failing';
  readonly pid: number;
  /** How often it was started again after it ended by itself. */
  readonly restarts: number;
  readonly lastError: string;
}

/** A plugin's configuration and settings in the form of its config.json, which is that of Docker's API, too. */
export interface PluginDocuments {
  readonly config: object;
  readonly mounts: readonly object[];
  readonly devices: readonly object[];
}

export interface InstallPlugin {
  readonly remote: string;
  /** '' for the remote's own name. */
  readonly name: string;
  readonly agreed: readonly Privilege[];
  readonly auth: RegistryAuth | undefined;
}

/** Plugins that the engine runs: made here or pulled from a registry, kept, started, watched. By name with or without tag, by id or the beginning of one. */
export interface Plugins {
  list(filters: ReadonlyMap<string, readonly string[]>): Plugin[];
  inspect(name: string): Plugin;
  life(id: string): PluginLife;
  documents(plugin: Plugin): PluginDocuments;
  /** What a plugin in a registry asks for. */
  privileges(remote: string, auth: RegistryAuth | undefined): Promise<Privilege[]>;
  /** What a plugin that is pulled will be called; checks both words. */
  pulledName(request: Pick<InstallPlugin, 'remote' | 'name'>): string;
  /** Brings a plugin from a registry, disabled. `forbidden` when it asks for something else than was agreed to. */
  pull(request: InstallPlugin, progress: ProgressSink, signal: AbortSignal): Promise<void>;
  /** Makes a plugin, disabled, from an archive of `config.json` and `rootfs`. */
  create(name: string, archive: Readable): Promise<void>;
  /** Starts it and waits until it listens. The error of one that does not has its exit code and what it said last. `timeout` in seconds. */
  enable(name: string, options: { timeout: number }): Promise<void>;
  /** `conflict` while something uses it, unless `force`. */
  disable(name: string, options: { force: boolean }): Promise<void>;
  /** `NAME[.field]=value`, only while it is disabled. */
  set(name: string, changes: readonly string[]): Promise<void>;
  /** Another version in the place of this one. One that is enabled is started again; if that fails, the old one is. */
  upgrade(name: string, request: Omit<InstallPlugin, 'name'>, progress: ProgressSink, signal: AbortSignal): Promise<void>;
  push(name: string, auth: RegistryAuth | undefined, progress: ProgressSink, signal: AbortSignal): Promise<void>;
  remove(name: string, options: { force: boolean }): Promise<Plugin>;
  /** What it wrote, newest last. */
  logs(name: string, request: Pick<ReadLogs, 'tail' | 'since' | 'until' | 'follow' | 'signal'>): Promise<AsyncIterable<LogEntry>>;
}
