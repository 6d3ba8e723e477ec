import { BaseCommand, warn } from '../../base-command.js';
import { flag } from '../../flags.js';
import { renderOne } from '../../render/one.js';
import { binarySize } from '../../render/units.js';
import { version } from '../../version.js';

type Info = Record<string, unknown>;

export default class SystemInfo extends BaseCommand {
  static override flags = { format: flag.string({ char: 'f', description: "'json', or a Go template" }) };

  async run(): Promise<void> {
    const { flags } = this.read(SystemInfo);
    const client = { Debug: false, Version: version, Platform: { Name: 'Gantry' }, Context: 'default', Plugins: [], Warnings: null };
    if (flags.format !== '') {
      // A format that says nothing of the engine must not need one.
      const clientOnly = /^\{\{\s*\.ClientInfo\b/.test(flags.format);
      const info = clientOnly ? {} : await this.client.get<Info>('/info');
      process.stdout.write(renderOne({ ...info, ClientInfo: client }, flags.format));
      return;
    }
    process.stdout.write(`Client: Gantry\n Version:    ${version}\n Context:    default\n Debug Mode: false\n\nServer:\n`);
    const info = await this.client.get<Info>('/info');
    process.stdout.write(`${serverLines(info).join('\n')}\n\n`);
    for (const warning of list(info['Warnings'])) warn(warning);
  }
}

const list = (value: unknown): string[] => (Array.isArray(value) ? (value as string[]) : []);
const map = (value: unknown): Record<string, unknown> =>
  typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
const text = (value: unknown): string => (value === undefined || value === null ? '' : String(value));

const serverLines = (info: Info): string[] => {
  const lines: string[] = [];
  const row = (label: string, value: unknown, depth = 1): number => lines.push(`${' '.repeat(depth)}${label}: ${text(value)}`);
  const optional = (label: string, value: unknown): void => {
    if (text(value) !== '') row(label, value);
  };
  row('Containers', info['Containers']);
  row('Running', info['ContainersRunning'], 2);
  row('Paused', info['ContainersPaused'], 2);
  row('Stopped', info['ContainersStopped'], 2);
  row('Images', info['Images']);
  optional('Server Version', info['ServerVersion']);
  optional('Storage Driver', info['Driver']);
  for (const [label, value] of (info['DriverStatus'] as [string, string][] | null) ?? []) row(label, value, 2);
  for (const [label, value] of (info['SystemStatus'] as [string, string][] | null) ?? []) row(label, value);
  optional('Logging Driver', info['LoggingDriver']);
  optional('Cgroup Driver', info['CgroupDriver']);
  optional('Cgroup Version', info['CgroupVersion']);
  lines.push(...pluginLines(map(info['Plugins'])));
  const set = map(info['DriverSet']);
  if (list(set['Included']).length > 0) row('Drivers of this build', list(set['Included']).join(' '));
  if (list(set['LeftOut']).length > 0) row('Drivers left out', list(set['LeftOut']).join(' '));
  lines.push(...deviceLines(info));
  row('Swarm', map(info['Swarm'])['LocalNodeState']);
  const runtimes = Object.keys(map(info['Runtimes'])).sort();
  if (runtimes.length > 0) {
    row('Runtimes', runtimes.join(' '));
    row('Default Runtime', info['DefaultRuntime']);
  }
  if (info['OSType'] === 'linux') {
    optional('Init Binary', info['InitBinary']);
    for (const [label, key] of [
      ['containerd', 'ContainerdCommit'],
      ['runc', 'RuncCommit'],
      ['init', 'InitCommit'],
    ] as const) {
      const commit = map(info[key]);
      if (key in info) row(`${label} version`, commit['ID']);
    }
    lines.push(...securityLines(list(info['SecurityOptions'])));
  }
  optional('Kernel Version', info['KernelVersion']);
  optional('Operating System', info['OperatingSystem']);
  optional('OSType', info['OSType']);
  optional('Architecture', info['Architecture']);
  row('CPUs', info['NCPU']);
  row('Total Memory', binarySize(Number(info['MemTotal'] ?? 0)));
  optional('Name', info['Name']);
  optional('ID', info['ID']);
  row('Docker Root Dir', info['DockerRootDir']);
  row('Debug Mode', info['Debug'] === true);
  if (info['Debug'] === true) {
    row('File Descriptors', info['NFd'], 2);
    row('Goroutines', info['NGoroutines'], 2);
    row('System Time', info['SystemTime'], 2);
    row('EventsListeners', info['NEventsListener'], 2);
  }
  optional('HTTP Proxy', info['HttpProxy']);
  optional('HTTPS Proxy', info['HttpsProxy']);
  optional('No Proxy', info['NoProxy']);
  if (list(info['Labels']).length > 0) lines.push(' Labels:', ...list(info['Labels']).map((label) => `  ${label}`));
  row('Experimental', info['ExperimentalBuild'] === true);
  lines.push(...registryLines(map(info['RegistryConfig'])));
  row('Live Restore Enabled', info['LiveRestoreEnabled'] === true);
  optional('Product License', info['ProductLicense']);
  const pools = (info['DefaultAddressPools'] as { Base: string; Size: number }[] | undefined) ?? [];
  if (pools.length > 0) lines.push(' Default Address Pools:', ...pools.map((pool) => `   Base: ${pool.Base}, Size: ${pool.Size}`));
  const firewall = map(info['FirewallBackend']);
  if (firewall['Driver']) row('Firewall Backend', firewall['Driver']);
  return lines;
};

const pluginLines = (plugins: Record<string, unknown>): string[] => {
  const lines = [' Plugins:', `  Volume: ${list(plugins['Volume']).join(' ')}`, `  Network: ${list(plugins['Network']).join(' ')}`];
  if (list(plugins['Authorization']).length > 0) lines.push(`  Authorization: ${list(plugins['Authorization']).join(' ')}`);
  return [...lines, `  Log: ${list(plugins['Log']).join(' ')}`];
};

const deviceLines = (info: Info): string[] => {
  const folders = list(info['CDISpecDirs']);
  return folders.length === 0 ? [] : [' CDI spec directories:', ...folders.map((folder) => `  ${folder}`)];
};

/** `name=seccomp,profile=builtin` as a heading with its options below. */
const securityLines = (options: readonly string[]): string[] => {
  if (options.length === 0) return [];
  return [
    ' Security Options:',
    ...options.flatMap((option) => {
      const pairs = option.split(',').map((pair) => [pair.split('=', 1)[0] as string, pair.slice(pair.indexOf('=') + 1)] as const);
      const name = pairs.find(([key]) => key === 'name')?.[1] ?? option;
      return [
        `  ${name}`,
        ...pairs.filter(([key]) => key !== 'name').map(([key, value]) => `   ${key[0]?.toUpperCase()}${key.slice(1)}: ${value}`),
      ];
    }),
  ];
};

const registryLines = (registry: Record<string, unknown>): string[] => {
  const secure = Object.values(map(registry['IndexConfigs'])) as { Name: string; Secure: boolean }[];
  const insecure = [...secure.filter((index) => !index.Secure).map((index) => index.Name), ...list(registry['InsecureRegistryCIDRs'])];
  const mirrors = list(registry['Mirrors']);
  return [
    ...(insecure.length > 0 ? [' Insecure Registries:', ...insecure.map((name) => `  ${name}`)] : []),
    ...(mirrors.length > 0 ? [' Registry Mirrors:', ...mirrors.map((name) => `  ${name}`)] : []),
  ];
};
