import { isIP } from 'node:net';
import { invalid } from '../contracts/errors.js';

/** How to reach the store that several engines share, and how they reach this one. */
export interface ClusterSettings {
  /** As the user wrote it, for messages. */
  readonly store: string;
  /** `host:port`, at least one. */
  readonly endpoints: readonly string[];
  /** The beginning of every key; ends with a slash. */
  readonly prefix: string;
  /** An IP address, or the name of a link that has one. */
  readonly advertise: string;
  /** Paths; all '' without TLS, and certificate and key '' when the store does not ask for them. */
  readonly caPath: string;
  readonly certPath: string;
  readonly keyPath: string;
  /** '' without authentication. */
  readonly user: string;
  readonly passwordPath: string;
  /** How often the engine tells that it lives, and how long it counts as living without. */
  readonly heartbeatSeconds: number;
  readonly ttlSeconds: number;
  /** The rest of the options, `overlay.` and `ipam.`, for the drivers. */
  readonly driverOptions: Readonly<Record<string, string>>;
}

const DEFAULT_PORT = 2379;
const DRIVERS = ['overlay.', 'ipam.'];

/**
 * Docker's `--cluster-store etcd://HOST:PORT[,HOST:PORT]/PREFIX`, `--cluster-advertise` and `--cluster-store-opt`. `undefined` when
 * none is given.
 */
export function parseCluster(store: string, advertise: string, options: Readonly<Record<string, string>>): ClusterSettings | undefined {
  if (store === '') {
    if (advertise !== '' || Object.keys(options).length > 0) throw invalid('cluster-advertise and cluster-store-opts need a cluster-store');
    return undefined;
  }
  const match = /^etcd:\/\/([^/]+)(\/.*)?$/.exec(store);
  if (!match) throw invalid(`invalid cluster-store ${JSON.stringify(store.slice(0, 256))}: it is etcd://HOST:PORT[,HOST:PORT][/PREFIX]`);
  if (advertise === '') throw invalid('a cluster-store needs cluster-advertise: the address or the interface that other hosts reach');
  const known = {
    'kv.path': '',
    'kv.cacertfile': '',
    'kv.certfile': '',
    'kv.keyfile': '',
    'kv.username': '',
    'kv.passwordfile': '',
    'discovery.heartbeat': '20',
    'discovery.ttl': '60',
  };
  const driverOptions: Record<string, string> = {};
  for (const [key, value] of Object.entries(options)) {
    if (Object.hasOwn(known, key)) known[key as keyof typeof known] = value;
    else if (DRIVERS.some((prefix) => key.startsWith(prefix))) driverOptions[key] = value;
    else throw invalid(`unknown option in cluster-store-opts: ${key.slice(0, 128)}`);
  }
  const tls = [known['kv.cacertfile'], known['kv.certfile'], known['kv.keyfile']];
  if (tls.some((path) => path !== '') && tls[0] === '') throw invalid('kv.certfile and kv.keyfile need kv.cacertfile');
  if ((tls[1] === '') !== (tls[2] === '')) throw invalid('kv.certfile and kv.keyfile are given together');
  if ((known['kv.username'] === '') !== (known['kv.passwordfile'] === ''))
    throw invalid('kv.username and kv.passwordfile are given together');
  const heartbeatSeconds = seconds('discovery.heartbeat', known['discovery.heartbeat']);
  const ttlSeconds = seconds('discovery.ttl', known['discovery.ttl']);
  if (ttlSeconds <= heartbeatSeconds) throw invalid('discovery.ttl must be longer than discovery.heartbeat');
  const path = (match[2] ?? '').replace(/^\/+|\/+$/g, '') || known['kv.path'].replace(/^\/+|\/+$/g, '');
  return {
    store,
    endpoints: (match[1] ?? '').split(',').map(parseEndpoint),
    prefix: `/${path || 'gantry'}/`,
    advertise: parseAdvertise(advertise),
    caPath: tls[0] ?? '',
    certPath: tls[1] ?? '',
    keyPath: tls[2] ?? '',
    user: known['kv.username'],
    passwordPath: known['kv.passwordfile'],
    heartbeatSeconds,
    ttlSeconds,
    driverOptions,
  };
}

function parseEndpoint(text: string): string {
  const match = /^(\[[0-9a-fA-F:]+\]|[A-Za-z0-9_.-]+)(?::(\d{1,5}))?$/.exec(text);
  const port = Number(match?.[2] ?? DEFAULT_PORT);
  if (!match || port < 1 || port > 65535) throw invalid(`invalid host in cluster-store: ${JSON.stringify(text.slice(0, 256))}`);
  return `${match[1]}:${port}`;
}

/** Docker's users write `eth0:2376`; no port of this engine is of interest to the others. */
function parseAdvertise(text: string): string {
  if (isIP(text) !== 0) return text;
  const match = /^(?:\[([0-9a-fA-F:]+)\]|([A-Za-z0-9_.-]+))(?::\d{1,5})?$/.exec(text);
  if (!match) throw invalid(`invalid cluster-advertise: ${JSON.stringify(text.slice(0, 256))}`);
  return match[1] ?? match[2] ?? '';
}

function seconds(key: string, text: string): number {
  const value = Number(text);
  if (!/^\d{1,5}$/.test(text) || value < 1) throw invalid(`invalid ${key}: ${JSON.stringify(text.slice(0, 64))}`);
  return value;
}
