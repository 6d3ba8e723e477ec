import { hostname } from 'node:os';
import { invalid } from '@gantry/core/contracts/errors.js';
import type { Logger } from '@gantry/core/contracts/manifest.js';
import type { Settings } from '@gantry/core/system/settings.js';
import type { Events } from '@gantry/core/system/system.js';
import type { DaemonConfig } from './config.js';

/** What a running daemon takes from its changed configuration, as dockerd does, with its key in daemon.json. */
const RELOADED = {
  debug: 'debug',
  labels: 'labels',
  defaultRuntime: 'default-runtime',
  runtimes: 'runtimes',
  defaultStopTimeout: 'default-stop-timeout',
  shutdownTimeout: 'shutdown-timeout',
  registryMirrors: 'registry-mirrors',
  insecureRegistries: 'insecure-registries',
  maxConcurrentDownloads: 'max-concurrent-downloads',
  maxConcurrentUploads: 'max-concurrent-uploads',
  maxDownloadAttempts: 'max-download-attempts',
  authorizationPlugins: 'authorization-plugins',
} as const satisfies Partial<Record<keyof Settings, string>>;

type Reloaded = { -readonly [K in keyof typeof RELOADED]: Settings[K] };

export interface ReloadTarget {
  /** The configuration in use; changed in place. */
  readonly config: DaemonConfig;
  readonly log: Logger & { setLevel(level: string): void };
  readonly events: Events;
  /** Of this engine, as `info` shows it. */
  engineId(): Promise<string>;
  /** Names of runtimes that the build has, whatever the configuration says. */
  readonly builtInRuntimes: readonly string[];
  /** Whether there is a plugin of that name; throws for one that is there and cannot serve. Nothing is asked of it. */
  hasPlugin(name: string): boolean;
}

/** Takes over what may change while the daemon runs. All of it, or nothing when something in it is wrong: then it throws. */
export async function reload(target: ReloadTarget, wanted: DaemonConfig): Promise<void> {
  const { config, log, events, engineId, builtInRuntimes } = target;
  const { settings } = wanted;
  if (!builtInRuntimes.includes(settings.defaultRuntime) && !Object.hasOwn(settings.runtimes, settings.defaultRuntime))
    throw invalid(`specified default runtime '${settings.defaultRuntime}' does not exist`);
  // With a name that nobody has, every request would be refused from now on, the one that mends it as well.
  const nobody = settings.authorizationPlugins.find(
    (name) => !config.settings.authorizationPlugins.includes(name) && !target.hasPlugin(name),
  );
  if (nobody !== undefined) throw invalid(`authorization plugin "${nobody}" not found`);
  const changed = (keys: readonly (keyof Settings)[]): string[] =>
    keys.filter((key) => JSON.stringify(settings[key]) !== JSON.stringify(config.settings[key]));
  const reloaded = Object.keys(RELOADED) as (keyof typeof RELOADED)[];
  const others = (Object.keys(settings) as (keyof Settings)[]).filter((key) => !Object.hasOwn(RELOADED, key));
  const applied = changed(reloaded);
  const left = changed(others);
  Object.assign(config.settings as Reloaded, Object.fromEntries(reloaded.map((key) => [key, settings[key]])));
  log.setLevel(wanted.logLevel);
  log.info('the configuration was read anew', { changed: applied, logLevel: wanted.logLevel });
  if (left.length > 0) log.warn('some settings changed that are taken only at a start of the daemon', { settings: left });
  events.publish({ type: 'daemon', action: 'reload', id: await engineId(), attributes: attributesOf(config.settings) });
}

/** All values, under their names in daemon.json, as dockerd tells them. */
function attributesOf(settings: Settings): Record<string, string> {
  const attributes: Record<string, string> = { name: hostname() };
  for (const [key, name] of Object.entries(RELOADED) as [keyof typeof RELOADED, string][]) {
    const value = settings[key];
    attributes[name] = typeof value === 'string' ? value : JSON.stringify(value);
  }
  return attributes;
}
