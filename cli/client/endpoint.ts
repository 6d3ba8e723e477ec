import { homedir } from 'node:os';
import { join } from 'node:path';

/** Where the engine that runs without any configuration listens. */
export const defaultSocket = '/run/gantry/gantry.sock';

/** Files for TLS; a file that is absent at its default place is left out. */
export interface TlsFiles {
  /** False keeps the connection encrypted but believes any server. */
  verify: boolean;
  ca: string;
  cert: string;
  key: string;
  /** True when the user named the files, so that a missing one is an error. */
  named: boolean;
}

export interface Endpoint {
  /** As the user wrote it, for messages. */
  readonly url: string;
  readonly address: { path: string } | { host: string; port: number };
  readonly tls: TlsFiles | undefined;
  /** Nobody asked for this endpoint: it is the default, where an engine may be started. */
  readonly isDefault: boolean;
}

/** The global flags that say where the engine is; undefined where the flag was not given. */
export interface EndpointFlags {
  hosts: string[];
  config: string | undefined;
  tls: boolean | undefined;
  tlsVerify: boolean | undefined;
  tlsCa: string | undefined;
  tlsCert: string | undefined;
  tlsKey: string | undefined;
}

export const configFolder = (flags: Pick<EndpointFlags, 'config'>, env = process.env): string =>
  flags.config || env['DOCKER_CONFIG'] || join(env['HOME'] || homedir(), '.docker');

/**
 * The endpoint that flags and environment mean: `-H`, then GANTRY_HOST, then DOCKER_HOST, then the default socket.
 *
 * @throws Error when the address has no form that can be reached from here
 */
export const resolveEndpoint = (flags: EndpointFlags, env = process.env): Endpoint => {
  if (flags.hosts.length > 1) throw new Error('specify only one -H');
  const asked = flags.hosts[0] || env['GANTRY_HOST'] || env['DOCKER_HOST'];
  const url = asked || `unix://${defaultSocket}`;
  const address = parseHost(url);
  const tls = 'path' in address ? undefined : tlsFiles(flags, env);
  return { url: normalUrl(url), address, tls, isDefault: !asked };
};

const normalUrl = (url: string): string => (url.includes('://') ? url : url.startsWith('/') ? `unix://${url}` : `tcp://${url}`);

export const parseHost = (text: string): Endpoint['address'] => {
  const url = normalUrl(text.trim());
  const at = url.indexOf('://');
  const scheme = url.slice(0, at);
  const rest = url.slice(at + 3);
  if (scheme === 'unix') {
    if (rest === '') return { path: defaultSocket };
    return { path: rest };
  }
  if (scheme === 'ssh')
    throw new Error(
      `unable to reach ${JSON.stringify(url)}: ssh addresses are not supported; forward the socket with ssh -L and use its path`,
    );
  if (scheme !== 'tcp' && scheme !== 'http' && scheme !== 'https') throw new Error(`unable to parse docker host ${JSON.stringify(text)}`);
  const match = /^(?:\[([^\]]+)\]|([^:/]*))(?::(\d+))?\/?$/.exec(rest);
  const port = Number(match?.[3] ?? (scheme === 'https' ? 2376 : 2375));
  if (!match || port < 1 || port > 65535) throw new Error(`unable to parse docker host ${JSON.stringify(text)}`);
  return { host: (match[1] ?? match[2]) || '127.0.0.1', port };
};

const tlsFiles = (flags: EndpointFlags, env: NodeJS.ProcessEnv): TlsFiles | undefined => {
  const verify = flags.tlsVerify ?? (env['DOCKER_TLS_VERIFY'] ?? '') !== '';
  const wanted = verify || (flags.tls ?? (env['DOCKER_TLS'] ?? '') !== '');
  if (!wanted) return undefined;
  const folder = env['DOCKER_CERT_PATH'] || configFolder(flags, env);
  return {
    verify,
    ca: flags.tlsCa ?? join(folder, 'ca.pem'),
    cert: flags.tlsCert ?? join(folder, 'cert.pem'),
    key: flags.tlsKey ?? join(folder, 'key.pem'),
    named: flags.tlsCa !== undefined || flags.tlsCert !== undefined || flags.tlsKey !== undefined,
  };
};
