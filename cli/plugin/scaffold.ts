/** What a new plugin of each kind begins with: what works, and as little as that. */

const head = (names: string): string => `import { ${names} } from 'gantry-plugin-sdk';\n`;

const volume = `${head('invalid, notFound, type VolumePlugin')}import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';

/** A volume is a folder below \`root\`. */
export class Plugin implements VolumePlugin {
  constructor(private root: string) {
    mkdirSync(root, { recursive: true });
  }

  create(name: string, options: Readonly<Record<string, string>>) {
    const [unknown] = Object.keys(options);
    if (unknown !== undefined) throw invalid(\`unknown option \${unknown}\`);
    mkdirSync(join(this.root, name), { recursive: true });
  }

  get(name: string) {
    const mountpoint = join(this.root, name);
    if (!existsSync(mountpoint)) throw notFound('volume', name);
    return { name, mountpoint };
  }

  list() {
    return readdirSync(this.root).map((name) => this.get(name));
  }

  remove(name: string) {
    rmSync(join(this.root, name), { recursive: true, force: true });
  }

  mount(name: string) {
    return this.get(name).mountpoint;
  }

  unmount() {}
}
`;

const access = `${head('type AccessPlugin, type AccessQuestion, type AccessVerdict')}
/** Lets everybody read and nobody start privileged containers. */
export class Plugin implements AccessPlugin {
  request({ body }: AccessQuestion): AccessVerdict {
    const { HostConfig } = (body ?? {}) as { HostConfig?: { Privileged?: boolean } };
    return HostConfig?.Privileged ? 'privileged containers are not allowed here' : true;
  }
}
`;

const log = `${head('type LogInfo, type LogPlugin, type LogSink')}import { appendFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';

/** Each container's lines go to a file below \`root\`. */
export class Plugin implements LogPlugin {
  stateFile: string;

  constructor(private root: string) {
    mkdirSync(root, { recursive: true });
    this.stateFile = join(root, 'streams.json');
  }

  open(info: LogInfo): LogSink {
    const file = join(this.root, \`\${info.ContainerID}.log\`);
    appendFileSync(file, '');
    return {
      write: ({ line, partial, piece }) => appendFileSync(file, Buffer.concat([line, Buffer.from(!partial || piece?.last ? '\\n' : '')])),
      close: () => {},
    };
  }
}
`;

const ipam = `${head('type IpamPlugin, notFound, type PoolRequest, PluginError')}import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Pools of 256 addresses from 10.64.0.0/16, kept in a file below \`root\`. */
export class Plugin implements IpamPlugin {
  private pools: Record<string, string[]>;
  private file: string;

  constructor(root: string) {
    mkdirSync(root, { recursive: true });
    this.file = join(root, 'pools.json');
    this.pools = existsSync(this.file) ? JSON.parse(readFileSync(this.file, 'utf8')) : {};
  }

  defaultAddressSpaces() {
    return { local: 'local', global: 'global' };
  }

  requestPool({ pool }: PoolRequest) {
    const free = Array.from({ length: 256 }, (_, n) => \`10.64.\${n}.0/24\`).find((candidate) => !this.pools[candidate]);
    const chosen = pool ?? free;
    if (!chosen) throw new PluginError('unavailable', 'every pool is given');
    if (!/^\\d+\\.\\d+\\.\\d+\\.0\\/24$/.test(chosen)) throw new PluginError('invalid-parameter', \`a pool is a /24, and \${chosen} is none\`);
    this.pools[chosen] ??= [];
    this.save();
    return { poolId: chosen, pool: chosen };
  }

  releasePool(poolId: string) {
    delete this.pools[poolId];
    this.save();
  }

  requestAddress(poolId: string, address?: string) {
    const leases = this.pools[poolId];
    if (!leases) throw notFound('pool', poolId);
    const prefix = poolId.slice(0, poolId.lastIndexOf('.'));
    const chosen = address ?? Array.from({ length: 254 }, (_, n) => \`\${prefix}.\${n + 1}\`).find((candidate) => !leases.includes(candidate));
    if (!chosen) throw new PluginError('unavailable', \`pool \${poolId} is full\`);
    if (!leases.includes(chosen)) leases.push(chosen);
    this.save();
    return \`\${chosen}/24\`;
  }

  releaseAddress(poolId: string, address: string) {
    if (this.pools[poolId]) this.pools[poolId] = this.pools[poolId].filter((lease) => lease !== address);
    this.save();
  }

  private save() {
    writeFileSync(\`\${this.file}.new\`, JSON.stringify(this.pools));
    renameSync(\`\${this.file}.new\`, this.file);
  }
}
`;

const network = `${head('type NetworkConfig, type NetworkPlugin, notFound')}import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const ip = (...words: string[]) => execFileSync('ip', words, { stdio: 'pipe' });

/** Gives each endpoint a pair of links; what becomes of the outer end is up to you. */
export class Plugin implements NetworkPlugin {
  private networks: Record<string, { gateway: string }>;
  private file: string;

  constructor(root: string) {
    mkdirSync(root, { recursive: true });
    this.file = join(root, 'networks.json');
    this.networks = existsSync(this.file) ? JSON.parse(readFileSync(this.file, 'utf8')) : {};
  }

  createNetwork(networkId: string, { ipv4 }: NetworkConfig) {
    this.networks[networkId] = { gateway: ipv4[0]?.gateway ?? '' };
    this.save();
  }

  deleteNetwork(networkId: string) {
    delete this.networks[networkId];
    this.save();
  }

  createEndpoint(networkId: string) {
    if (!this.networks[networkId]) throw notFound('network', networkId);
    return {};
  }

  deleteEndpoint() {}

  join(networkId: string, endpointId: string) {
    const network = this.networks[networkId];
    if (!network) throw notFound('network', networkId);
    const [outer, inner] = [\`vo\${endpointId.slice(0, 9)}\`, \`vi\${endpointId.slice(0, 9)}\`];
    ip('link', 'add', outer, 'type', 'veth', 'peer', 'name', inner);
    ip('addr', 'add', network.gateway, 'dev', outer);
    ip('link', 'set', outer, 'up');
    return { link: { srcName: inner, dstPrefix: 'eth' }, gateway: network.gateway.split('/')[0], routes: [] };
  }

  leave(_networkId: string, endpointId: string) {
    const outer = \`vo\${endpointId.slice(0, 9)}\`;
    if (existsSync(\`/sys/class/net/\${outer}\`)) ip('link', 'del', outer);
  }

  private save() {
    writeFileSync(\`\${this.file}.new\`, JSON.stringify(this.networks));
    renameSync(\`\${this.file}.new\`, this.file);
  }
}
`;

const metrics = `${head('METRICS_SOCKET, type MetricsPlugin')}import { createWriteStream, mkdirSync } from 'node:fs';
import { get } from 'node:http';
import { join } from 'node:path';

/** Writes the engine's metrics to a file below \`root\`, every ten seconds. */
export class Plugin implements MetricsPlugin {
  private timer?: NodeJS.Timeout;

  constructor(private root: string) {
    mkdirSync(root, { recursive: true });
  }

  start() {
    this.stop();
    this.timer = setInterval(() => this.scrape(), 10_000).unref();
    this.scrape();
  }

  stop() {
    clearInterval(this.timer);
  }

  private scrape() {
    const request = get({ socketPath: METRICS_SOCKET, path: '/metrics' }, (answer) => answer.pipe(createWriteStream(join(this.root, 'metrics'))));
    request.on('error', (error) => console.error(\`the engine's metrics cannot be read: \${error.message}\`));
  }
}
`;

const plugins = { volume, network, ipam, log, access, metrics } as const;

export type ScaffoldKind = keyof typeof plugins;
export const scaffoldKinds = Object.keys(plugins) as ScaffoldKind[];

/** The files of a new plugin by their path. */
export function scaffold(name: string, kind: ScaffoldKind, sdk: string): Record<string, string> {
  const construction = kind === 'access' ? 'new Plugin()' : `new Plugin(root)`;
  const manifest = {
    name,
    version: '0.1.0',
    private: true,
    type: 'module',
    engines: { node: '>=24' },
    scripts: { start: 'node main.ts', test: 'node --test' },
    dependencies: { 'gantry-plugin-sdk': `file:${sdk}` },
  };
  return {
    'package.json': `${JSON.stringify(manifest, undefined, 2)}\n`,
    'plugin.ts': plugins[kind].replace(
      'constructor(private root: string) {',
      'private root: string;\n\n  constructor(root: string) {\n    this.root = root;',
    ),
    'main.ts': `import { serve } from 'gantry-plugin-sdk';
import { Plugin } from './plugin.ts';

const root = process.env.PLUGIN_ROOT ?? '/var/lib/${name}';
await serve({ socket: process.env.PLUGIN_SOCKET ?? '/run/docker/plugins/${name}.sock', ${kind}: ${construction} });
`.replace(kind === 'access' ? /const root.*\n/ : /$^/, ''),
    'plugin.test.ts': `import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { serve } from 'gantry-plugin-sdk';
import { checkPlugin, plain } from 'gantry-plugin-sdk/check';
import { Plugin } from './plugin.ts';

test('keeps every promise of its kind, also when it is started anew in between', async () => {
  const folder = mkdtempSync(join(tmpdir(), '${name}-'));
  const socket = join(folder, 'plugin.sock');
  const root = join(folder, 'root');
  let running = await serve({ socket, ${kind}: ${construction} });
  try {
    const restart = async () => {
      await running.close();
      running = await serve({ socket, ${kind}: ${construction} });
    };
    const results = await checkPlugin({ socket, folder, restart });
    assert.ok(!results.some(({ outcome }) => outcome === 'broken'), plain(results));
  } finally {
    await running.close();
    rmSync(folder, { recursive: true, force: true });
  }
});
`.replace(kind === 'access' ? /  const root = .*\n/ : /$^/, ''),
    'README.md': `# ${name}

| command | what it does |
|---|---|
| \`gantry plugin dev .\` | runs the plugin from here, starts it again when a file changes, and shows each call |
| \`npm test\` | plays an engine to it, without one |
| \`npm start\` | serves it where Docker and Gantry look: /run/docker/plugins/${name}.sock |
`,
  };
}
