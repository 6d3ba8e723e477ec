import { spawn } from 'node:child_process';
import { readConfig, writeConfig, type ClientConfig } from './config-file.js';

export interface Credentials {
  username: string;
  password: string;
  serveraddress: string;
  identitytoken?: string;
}

/** The name under which Docker's clients keep the credentials of Docker Hub. */
export const hubServer = 'https://index.docker.io/v1/';

/** The registry that an image's name begins with; Docker Hub when it begins with none. */
export const registryOf = (image: string): string => {
  const slash = image.indexOf('/');
  const first = slash < 0 ? '' : image.slice(0, slash);
  const isHost = first.includes('.') || first.includes(':') || first === 'localhost' || first !== first.toLowerCase();
  return !isHost || first === 'docker.io' || first === 'index.docker.io' ? hubServer : first;
};

/** What `login HOST` is kept under. */
export const serverKey = (server: string): string => {
  const host = hostOf(server);
  return host === 'docker.io' || host === 'index.docker.io' || host === 'registry-1.docker.io' ? hubServer : host;
};

const hostOf = (server: string): string => server.replace(/^https?:\/\//, '').split('/', 1)[0] as string;

/** The credentials for a registry from config.json or the helper that it names; undefined when there are none. */
export const credentialsFor = async (folder: string, server: string): Promise<Credentials | undefined> => {
  const config = await readConfig(folder);
  const helper = helperFor(config, server);
  if (helper) {
    const found = await fromHelper(helper, server);
    if (found) return found;
  }
  const entry = config.auths?.[server] ?? Object.entries(config.auths ?? {}).find(([key]) => hostOf(key) === hostOf(server))?.[1];
  if (!entry) return undefined;
  const decoded = Buffer.from(entry.auth ?? '', 'base64').toString('utf8');
  const at = decoded.indexOf(':');
  const username = entry.username || (at < 0 ? '' : decoded.slice(0, at));
  const password = entry.password || (at < 0 ? '' : decoded.slice(at + 1).replace(/\0+$/, ''));
  if (username === '' && !entry.identitytoken) return undefined;
  return { username, password, serveraddress: server, ...(entry.identitytoken ? { identitytoken: entry.identitytoken } : {}) };
};

const helperFor = (config: ClientConfig, server: string): string | undefined =>
  config.credHelpers?.[server] ?? config.credHelpers?.[hostOf(server)] ?? config.credsStore;

/** The header of a request that reaches a registry; Docker sends an empty document when it has no credentials. */
export const registryAuth = async (folder: string, image: string): Promise<string> => {
  const credentials = await credentialsFor(folder, registryOf(image));
  return encodeAuth(credentials ?? {});
};

export const encodeAuth = (credentials: Partial<Credentials>): string =>
  Buffer.from(JSON.stringify(credentials)).toString('base64').replaceAll('+', '-').replaceAll('/', '_');

export const storeCredentials = async (folder: string, credentials: Credentials): Promise<{ helper?: string }> => {
  const config = await readConfig(folder);
  const { serveraddress: server } = credentials;
  const helper = helperFor(config, server);
  const secret = credentials.identitytoken
    ? { Username: '<token>', Secret: credentials.identitytoken }
    : { Username: credentials.username, Secret: credentials.password };
  if (helper) {
    await runHelper(helper, 'store', JSON.stringify({ ServerURL: server, ...secret }));
    await writeConfig(folder, { ...config, auths: { ...config.auths, [server]: {} } });
    return { helper };
  }
  const auth = Buffer.from(`${credentials.username}:${credentials.identitytoken ? '' : credentials.password}`).toString('base64');
  const entry = credentials.identitytoken ? { auth, identitytoken: credentials.identitytoken } : { auth };
  await writeConfig(folder, { ...config, auths: { ...config.auths, [server]: entry } });
  return {};
};

/** @returns false when there was nothing to forget */
export const eraseCredentials = async (folder: string, server: string): Promise<boolean> => {
  const config = await readConfig(folder);
  const helper = helperFor(config, server);
  if (helper) await runHelper(helper, 'erase', server).catch(() => '');
  const keys = Object.keys(config.auths ?? {}).filter((key) => key === server || hostOf(key) === hostOf(server));
  if (keys.length === 0) return false;
  const auths = Object.fromEntries(Object.entries(config.auths ?? {}).filter(([key]) => !keys.includes(key)));
  await writeConfig(folder, { ...config, auths });
  return true;
};

const fromHelper = async (helper: string, server: string): Promise<Credentials | undefined> => {
  let text: string;
  try {
    text = await runHelper(helper, 'get', server);
  } catch (error) {
    if (/credentials not found/i.test((error as Error).message)) return undefined;
    throw error;
  }
  const answer = JSON.parse(text) as { Username?: string; Secret?: string };
  if (!answer.Secret) return undefined;
  if (answer.Username === '<token>') return { username: '', password: '', serveraddress: server, identitytoken: answer.Secret };
  return { username: answer.Username ?? '', password: answer.Secret, serveraddress: server };
};

/** Runs `docker-credential-NAME`, which Docker defines as how other programs keep secrets. */
const runHelper = async (name: string, action: 'get' | 'store' | 'erase', input: string): Promise<string> => {
  if (!/^[\w.-]+$/.test(name)) throw new Error(`invalid name of a credential helper: ${JSON.stringify(name)}`);
  return new Promise((resolve, reject) => {
    const child = spawn(`docker-credential-${name}`, [action], { stdio: ['pipe', 'pipe', 'inherit'] });
    const pieces: Buffer[] = [];
    child.stdout.on('data', (piece: Buffer) => pieces.push(piece));
    child.stdin.on('error', () => undefined);
    child.once('error', (error) =>
      reject(
        new Error(
          `error getting credentials - err: exec: "docker-credential-${name}": ${(error as NodeJS.ErrnoException).code === 'ENOENT' ? 'executable file not found in $PATH' : error.message}`,
        ),
      ),
    );
    child.once('close', (code) => {
      const text = Buffer.concat(pieces).toString('utf8').trim();
      if (code === 0) resolve(text);
      else reject(new Error(`error getting credentials - err: exit status ${code}, out: \`${text}\``));
    });
    child.stdin.end(`${input}\n`);
  });
};
