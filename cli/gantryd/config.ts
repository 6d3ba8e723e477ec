import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseCluster } from '@gantry/core/cluster/cluster-settings.js';
import { invalid, messageOf } from '@gantry/core/contracts/errors.js';
import type { Settings } from '@gantry/core/system/settings.js';
import { builtIn, checkStorageOptions } from './driver-sources.js';
import { binFolder } from '@gantry/native/addon.js';
import { defaultFolders } from '@gantry/plugins/host/discovery.js';
import { version } from '../version.js';
import { logLevels } from './log.js';
import { type Option, options } from './options.js';

export interface TlsConfig {
  readonly caPath: string;
  readonly certPath: string;
  readonly keyPath: string;
  /** Clients must show a certificate that the CA signed. */
  readonly verify: boolean;
}

/** All that a daemon is told at its start. */
export interface DaemonConfig {
  readonly settings: Settings;
  /** `unix:///path`, `tcp://host:port`, `fd://`. */
  readonly hosts: readonly string[];
  /** Group that owns the unix socket. */
  readonly group: string;
  readonly tls: TlsConfig | undefined;
  readonly pidFile: string;
  readonly logLevel: string;
  readonly logFormat: string;
  /** Only check the configuration and leave. */
  readonly validate: boolean;
}

type Values = Map<string, string | boolean | string[] | Record<string, unknown> | readonly unknown[] | number>;

/** What the flags say, by daemon.json key. `--help` and `--version` are `undefined` with their name. */
export function parseFlags(argv: readonly string[]): { values: Values; configFile: string | undefined; wants: 'run' | 'help' | 'version' } {
  const values: Values = new Map();
  let configFile: string | undefined;
  let wants: 'run' | 'help' | 'version' = 'run';
  const byFlag = new Map<string, Option>();
  for (const option of options) {
    byFlag.set(`--${option.flag}`, option);
    if (option.short) byFlag.set(`-${option.short}`, option);
  }
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i] ?? '';
    const equals = word.indexOf('=');
    const name = word.startsWith('-') && equals > 0 ? word.slice(0, equals) : word;
    if (name === '--help' || name === '-h') wants = 'help';
    else if (name === '--version' || name === '-v') wants = 'version';
    else {
      const takeValue = (): string => {
        if (equals > 0 && word.startsWith('-')) return word.slice(equals + 1);
        const next = argv[++i];
        if (next === undefined) throw invalid(`flag needs an argument: ${name}`);
        return next;
      };
      if (name === '--config-file') {
        configFile = takeValue();
        continue;
      }
      const option = byFlag.get(name);
      if (!option)
        throw invalid(name.startsWith('-') ? `unknown flag: ${name}` : `gantryd takes no arguments, and was given ${JSON.stringify(word)}`);
      if (option.type === 'boolean') values.set(option.key, equals > 0 ? readBoolean(name, word.slice(equals + 1)) : true);
      else if (option.type === 'list') values.set(option.key, [...((values.get(option.key) as string[] | undefined) ?? []), takeValue()]);
      else if (option.type === 'map') {
        const text = takeValue();
        const at = text.indexOf('=');
        if (at <= 0) throw invalid(`${name} takes KEY=VALUE, and was given ${JSON.stringify(text)}`);
        values.set(option.key, {
          ...(values.get(option.key) as Record<string, unknown> | undefined),
          [text.slice(0, at)]: text.slice(at + 1),
        });
      } else if (option.type === 'number') values.set(option.key, readNumber(name, takeValue()));
      else values.set(option.key, takeValue());
    }
  }
  return { values, configFile, wants };
}

function readBoolean(name: string, text: string): boolean {
  if (/^(1|t|true)$/i.test(text)) return true;
  if (/^(0|f|false)$/i.test(text)) return false;
  throw invalid(`invalid boolean value ${JSON.stringify(text)} for ${name}`);
}

function readNumber(name: string, text: string): number {
  if (!/^-?\d+$/.test(text)) throw invalid(`invalid number ${JSON.stringify(text)} for ${name}`);
  return Number(text);
}

/** daemon.json: every key known, every value of its type. `path` is for messages. */
export function parseFile(text: string, path: string): Values {
  let json: unknown;
  try {
    json = text.trim() === '' ? {} : JSON.parse(text);
  } catch (error) {
    throw invalid(`the configuration file ${path} is not JSON: ${messageOf(error)}`, error);
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json))
    throw invalid(`the configuration file ${path} must hold one JSON object`);
  const values: Values = new Map();
  const byKey = new Map(options.map((option) => [option.key, option]));
  const unknown: string[] = [];
  for (const [key, value] of Object.entries(json as Record<string, unknown>)) {
    const option = byKey.get(key);
    if (!option) {
      unknown.push(key);
      continue;
    }
    const fits =
      option.type === 'boolean'
        ? typeof value === 'boolean'
        : option.type === 'number'
          ? typeof value === 'number' && Number.isInteger(value)
          : option.type === 'string'
            ? typeof value === 'string'
            : option.type === 'list'
              ? Array.isArray(value) && value.every((item) => typeof item === 'string' || option.key === 'default-address-pools')
              : typeof value === 'object' && value !== null && !Array.isArray(value);
    // Docker's own files spell storage-opts as a list of KEY=VALUE.
    if (!fits && option.type === 'map' && Array.isArray(value)) {
      const map: Record<string, unknown> = {};
      for (const item of value as unknown[]) {
        const at = String(item).indexOf('=');
        if (at <= 0) throw invalid(`${key} in ${path} takes KEY=VALUE items`);
        map[String(item).slice(0, at)] = String(item).slice(at + 1);
      }
      values.set(key, map);
      continue;
    }
    if (!fits) throw invalid(`${key} in ${path} must be a ${option.type}`);
    values.set(key, value as string);
  }
  if (unknown.length > 0)
    throw invalid(`the following directives don't match any configuration option: ${unknown.join(', ')} (in ${path})`);
  return values;
}

/** Flags and file together. A key that both give, unless a list that they may both fill, is a fatal conflict, as in dockerd. */
export function merge(flags: Values, file: Values): Values {
  const both = [...flags.keys()].filter((key) => file.has(key));
  if (both.length > 0) {
    const shown = both.map((key) => `${key}: (from flag: ${JSON.stringify(flags.get(key))}, from file: ${JSON.stringify(file.get(key))})`);
    throw invalid(`the following directives are specified both as a flag and in the configuration file: ${shown.join(', ')}`);
  }
  return new Map([...file, ...flags]);
}

/** Reads argv and the file it names (or the default one, which may be missing). */
export function loadConfig(argv: readonly string[]): DaemonConfig | 'help' | 'version' {
  const { values: flags, configFile, wants } = parseFlags(argv);
  if (wants !== 'run') return wants;
  const path = configFile ?? '/etc/gantry/daemon.json';
  let text = '';
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if (configFile !== undefined || (error as NodeJS.ErrnoException).code !== 'ENOENT')
      throw invalid(`cannot read the configuration file: ${messageOf(error)}`, error);
  }
  return fromValues(merge(flags, parseFile(text, path)));
}

function fromValues(values: Values): DaemonConfig {
  const text = (key: string, fallback = ''): string => (values.get(key) as string | undefined) ?? fallback;
  const flag = (key: string, fallback = false): boolean => (values.get(key) as boolean | undefined) ?? fallback;
  const number = (key: string, fallback: number): number => (values.get(key) as number | undefined) ?? fallback;
  const list = (key: string): string[] => (values.get(key) as string[] | undefined) ?? [];
  const folders = (key: string, usual: readonly string[]): string[] =>
    (values.has(key) ? list(key) : [...usual]).map((path) => resolve(path));
  const map = (key: string): Record<string, string> => {
    const given = (values.get(key) as Record<string, unknown> | undefined) ?? {};
    return Object.fromEntries(Object.entries(given).map(([name, value]) => [name, String(value)]));
  };

  const dataRoot = resolve(text('data-root', '/var/lib/gantry'));
  const execRoot = resolve(text('exec-root', '/run/gantry'));
  const runtimes: Record<string, { path: string; args: readonly string[] }> = {};
  for (const [name, value] of Object.entries((values.get('runtimes') as Record<string, unknown> | undefined) ?? {})) {
    runtimes[name] = readRuntime(name, value);
  }
  const settings: Settings = {
    instance: createHash('sha256').update(dataRoot).digest('hex').slice(0, 8),
    version,
    ...readBuild(),
    dataRoot,
    execRoot,
    debug: flag('debug') || text('log-level') === 'debug',
    labels: list('labels'),
    storageDriver: text('storage-driver'),
    metricsAddress: readAddress('metrics-addr', text('metrics-addr')),
    storageOptions: map('storage-opts'),
    bridge: text('bridge', builtIn.names('network').includes('bridge') ? 'gantry0' : 'none'),
    bip: text('bip'),
    fixedCidr: text('fixed-cidr'),
    ipv6: flag('ipv6'),
    fixedCidrV6: text('fixed-cidr-v6'),
    mtu: number('mtu', 1500),
    icc: flag('icc', true),
    ipMasquerade: flag('ip-masq', true),
    ipForward: flag('ip-forward', true),
    userlandProxy: flag('userland-proxy', true),
    defaultHostIp: text('ip', '0.0.0.0') === '0.0.0.0' ? '' : text('ip'),
    dns: list('dns'),
    dnsOptions: list('dns-opts'),
    dnsSearch: list('dns-search'),
    defaultAddressPools: readPools(values.get('default-address-pools')),
    clusterStore: parseCluster(text('cluster-store'), text('cluster-advertise'), map('cluster-store-opts')),
    defaultRuntime: text('default-runtime', builtIn.names('runtime')[0]),
    runtimes,
    logDriver: text('log-driver', builtIn.names('log')[0]),
    logOptions: map('log-opts'),
    cgroupParent: text('cgroup-parent'),
    init: flag('init'),
    initPath: text('init-path', join(binFolder, 'gantry-init')),
    shimPath: join(binFolder, 'gantry-shim'),
    nameServerPath: join(binFolder, 'gantry-dns'),
    nativeRuntimePath: join(binFolder, 'gantry-runtime'),
    defaultShmSize: readBytes('default-shm-size', text('default-shm-size', '64m')),
    defaultUlimits: readUlimits(values.get('default-ulimits') as Record<string, unknown> | undefined),
    noNewPrivileges: flag('no-new-privileges'),
    seccompProfile: text('seccomp-profile'),
    defaultStopTimeout: number('default-stop-timeout', 10),
    shutdownTimeout: number('shutdown-timeout', 15),
    authorizationPlugins: [...new Set(list('authorization-plugins'))],
    pluginFolders: {
      sockets: folders('plugin-socket-folders', defaultFolders.sockets),
      specifications: folders('plugin-spec-folders', defaultFolders.specifications),
    },
    registryMirrors: list('registry-mirrors'),
    insecureRegistries: list('insecure-registries'),
    certificateFolders: ['/etc/gantry/certs.d', '/etc/docker/certs.d'],
    maxConcurrentDownloads: number('max-concurrent-downloads', 3),
    maxConcurrentUploads: number('max-concurrent-uploads', 5),
    maxDownloadAttempts: number('max-download-attempts', 5),
  };
  checkStorageOptions(settings);
  const hosts = list('hosts');
  const tlsOn = flag('tls') || flag('tlsverify');
  for (const host of hosts) {
    if (!/^(unix|tcp|fd):\/\//.test(host))
      throw invalid(`invalid host ${JSON.stringify(host)}: it must start with unix://, tcp:// or fd://`);
  }
  return {
    settings,
    hosts: hosts.length > 0 ? hosts : ['unix:///run/gantry/gantry.sock'],
    group: text('group', 'docker'),
    tls: tlsOn
      ? {
          caPath: text('tlscacert', '/etc/gantry/ca.pem'),
          certPath: text('tlscert', '/etc/gantry/cert.pem'),
          keyPath: text('tlskey', '/etc/gantry/key.pem'),
          verify: flag('tlsverify'),
        }
      : undefined,
    pidFile: text('pidfile', join(execRoot, 'gantryd.pid')),
    logLevel: flag('debug') ? 'debug' : readLogLevel(text('log-level', 'info')),
    logFormat: text('log-format', 'text'),
    validate: flag('validate'),
  };
}

/** What the build wrote down of itself; nothing for one without git. */
function readBuild(): { gitCommit: string; buildTime: string } {
  try {
    const { commit, time } = JSON.parse(readFileSync(join(binFolder, 'build.json'), 'utf8')) as { commit?: unknown; time?: unknown };
    return { gitCommit: String(commit ?? ''), buildTime: String(time ?? '') };
  } catch {
    return { gitCommit: '', buildTime: '' };
  }
}

function readAddress(key: string, address: string): string {
  const port = Number(/^(?:[^:\s]*|\[[0-9a-fA-F:.]+\]):(\d+)$/.exec(address)?.[1] ?? Number.NaN);
  if (address !== '' && !(port <= 65_535)) throw invalid(`invalid ${key} ${JSON.stringify(address)}: it must be HOST:PORT`);
  return address;
}

function readLogLevel(level: string): string {
  if (logLevels.includes(level)) return level;
  throw invalid(`invalid logging level: ${level}`);
}

function readRuntime(name: string, value: unknown): { path: string; args: readonly string[] } {
  if (typeof value === 'string') return { path: value, args: [] };
  const entry = value as { path?: unknown; runtimeArgs?: unknown };
  if (typeof entry.path !== 'string' || entry.path === '') throw invalid(`runtime ${name} has no path`);
  const args = entry.runtimeArgs ?? [];
  if (!Array.isArray(args) || !args.every((arg) => typeof arg === 'string'))
    throw invalid(`runtimeArgs of runtime ${name} must be a list of strings`);
  return { path: entry.path, args: args as string[] };
}

function readPools(value: unknown): { base: string; size: number }[] {
  if (value === undefined) return [];
  return (value as unknown[]).map((item) => {
    const pool =
      typeof item === 'string'
        ? Object.fromEntries(item.split(',').map((part) => part.split('=', 2) as [string, string]))
        : (item as Record<string, unknown>);
    const size = Number(pool['size']);
    if (typeof pool['base'] !== 'string' || !Number.isInteger(size))
      throw invalid(`invalid default-address-pools entry ${JSON.stringify(item)}: it needs base and size`);
    return { base: pool['base'], size };
  });
}

function readUlimits(value: Record<string, unknown> | undefined): Settings['defaultUlimits'] {
  return Object.entries(value ?? {}).map(([name, entry]) => {
    if (typeof entry === 'string') {
      const [soft, hard] = entry.split(':').map(Number);
      return { name, soft: soft ?? 0, hard: hard ?? soft ?? 0 };
    }
    const { Soft, Hard } = entry as { Soft?: number; Hard?: number };
    return { name, soft: Number(Soft ?? Hard ?? 0), hard: Number(Hard ?? Soft ?? 0) };
  });
}

function readBytes(key: string, text: string): number {
  const found = /^(\d+)([bkmg]?)b?$/i.exec(text);
  if (!found) throw invalid(`invalid size ${JSON.stringify(text)} for ${key}`);
  return Number(found[1]) * 1024 ** 'bkmg'.indexOf((found[2] || 'b').toLowerCase());
}
