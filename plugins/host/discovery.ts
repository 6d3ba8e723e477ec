import { closeSync, fstatSync, openSync, readdirSync, readSync, statSync, lstatSync, type Stats, constants } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { conflict, EngineError, invalid, messageOf } from '@gantry/core/contracts/errors.js';
import type { PluginPlace, PluginTls } from '@gantry/core/contracts/plugin.js';
import { limits } from './limits.js';

export interface PluginFolders {
  /** Of sockets, the first asked first. */
  readonly sockets: readonly string[];
  /** Of `.spec` and `.json` files. */
  readonly specifications: readonly string[];
}

/** Docker's own are asked after the engine's. */
export const defaultFolders: PluginFolders = {
  sockets: ['/run/gantry/plugins', '/run/docker/plugins'],
  specifications: ['/etc/gantry/plugins', '/etc/docker/plugins', '/usr/lib/docker/plugins'],
};

/** A name becomes a file's name here, so it may lead nowhere else. A managed plugin's reference is not looked for in folders. */
const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}$/;

/**
 * Where a plugin listens, by Docker's order: sockets before specifications, `.spec` before `.json`, `NAME` before `NAME/NAME`.
 * The first that is there decides, even a broken one; another that says something else is refused, since nobody could tell which was
 * meant. Whatever strangers could have put there is refused, too. Only the file system is asked.
 */
export function locate(folders: PluginFolders, name: string): PluginPlace | undefined {
  if (!NAME.test(name)) return undefined;
  const [first, ...others] = candidates(folders, name);
  if (!first) return undefined;
  const place = first();
  for (const other of others) {
    const second = other();
    if (second.address !== place.address)
      throw conflict(`plugin ${name} is there twice: ${place.source} says ${place.address}, ${second.source} says ${second.address}`);
  }
  return place;
}

/** Names of all plugins there are in the folders. */
export function listNames(folders: PluginFolders): string[] {
  const names = new Set<string>();
  for (const folder of [...folders.sockets, ...folders.specifications]) {
    const socketFolder = folders.sockets.includes(folder);
    for (const entry of entriesOf(folder)) {
      const name = entry.name.replace(/\.(sock|spec|json)$/, '');
      if (!NAME.test(name)) continue;
      const extension = entry.name.slice(name.length);
      const inFolder = entry.isDirectory()
        ? places(folder, name, socketFolder).some((path) => dirname(path) !== folder && exists(path))
        : false;
      if (inFolder || (socketFolder ? extension === '.sock' : extension === '.spec' || extension === '.json')) names.add(name);
    }
  }
  return [...names].toSorted();
}

function entriesOf(folder: string): import('node:fs').Dirent[] {
  try {
    return readdirSync(folder, { withFileTypes: true });
  } catch {
    return [];
  }
}

function candidates(folders: PluginFolders, name: string): (() => PluginPlace)[] {
  const sockets = folders.sockets
    .flatMap((folder) => places(folder, name, true))
    .filter((path) => isSocket(path))
    .map((path) => () => fromSocket(name, path));
  const specifications = folders.specifications
    .flatMap((folder) => places(folder, name, false))
    .filter(exists)
    .map((path) => () => fromSpecification(name, path));
  return [...sockets, ...specifications];
}

const places = (folder: string, name: string, sockets: boolean): string[] =>
  (sockets ? ['sock'] : ['spec', 'json']).flatMap((extension) => [
    join(folder, `${name}.${extension}`),
    join(folder, name, `${name}.${extension}`),
  ]);

function exists(path: string): boolean {
  return statOf(path) !== undefined;
}

function statOf(path: string): Stats | undefined {
  try {
    return statSync(path);
  } catch {
    return undefined;
  }
}

const isSocket = (path: string): boolean => statOf(path)?.isSocket() ?? false;

function fromSocket(name: string, path: string): PluginPlace {
  refuseStrangers(name, path);
  return { name, address: `unix://${path}`, source: path };
}

function fromSpecification(name: string, path: string): PluginPlace {
  refuseStrangers(name, path);
  const text = readSmall(name, path);
  const place = path.endsWith('.json') ? fromJson(name, path, text) : fromSpec(name, path, text);
  if (place.address.startsWith('unix://')) {
    const socket = place.address.slice('unix://'.length);
    if (exists(socket)) refuseStrangers(name, socket);
  }
  return place;
}

/** Verified as little as Docker does it; who wants TLS checked writes a `.json`. */
function fromSpec(name: string, path: string, text: string): PluginPlace {
  const address = text.trim();
  if (!/^(unix|tcp|https?):\/\/\S+$/i.test(address))
    throw broken(name, path, `it must hold one address, and holds ${JSON.stringify(address.slice(0, 80))}`);
  return { name, address, source: path, tls: { insecureSkipVerify: true } };
}

function fromJson(name: string, path: string, text: string): PluginPlace {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw broken(name, path, messageOf(error), error);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw broken(name, path, 'it must hold a JSON object');
  const fields = folded(value);
  const address = fields.get('addr');
  if (typeof address !== 'string' || address === '') throw broken(name, path, 'it has no Addr');
  const tls = fields.get('tlsconfig');
  if (tls === undefined || tls === null) return { name, address, source: path };
  if (typeof tls !== 'object' || Array.isArray(tls)) throw broken(name, path, 'TLSConfig must be an object');
  return { name, address, source: path, tls: tlsOf(name, path, folded(tls)) };
}

function tlsOf(name: string, path: string, fields: ReadonlyMap<string, unknown>): PluginTls {
  const file = (key: string): string | undefined => {
    const value = fields.get(key.toLowerCase()) ?? '';
    if (typeof value !== 'string') throw broken(name, path, `TLSConfig.${key} must be a string`);
    return value === '' ? undefined : value;
  };
  const insecure = fields.get('insecureskipverify') ?? false;
  if (typeof insecure !== 'boolean') throw broken(name, path, 'TLSConfig.InsecureSkipVerify must be true or false');
  const [caFile, certFile, keyFile] = [file('CAFile'), file('CertFile'), file('KeyFile')];
  return {
    // Docker's rule: who names no authority wants none asked.
    insecureSkipVerify: insecure || caFile === undefined,
    ...(caFile !== undefined && { caFile }),
    ...(certFile !== undefined && { certFile }),
    ...(keyFile !== undefined && { keyFile }),
  };
}

/** Go matches names without regard to case. */
const folded = (value: object): Map<string, unknown> => new Map(Object.entries(value).map(([key, item]) => [key.toLowerCase(), item]));

const broken = (name: string, path: string, why: string, cause?: unknown): EngineError =>
  invalid(`plugin ${name}: cannot read ${path}: ${why}`, cause);

function readSmall(name: string, path: string): string {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const stat = fstatSync(fd);
    if (!stat.isFile()) throw broken(name, path, 'it is no plain file');
    if (stat.size > limits.specification) throw broken(name, path, `it is larger than ${limits.specification} bytes`);
    const bytes = Buffer.alloc(limits.specification);
    return bytes.toString('utf8', 0, readSync(fd, bytes, 0, bytes.length, 0));
  } finally {
    closeSync(fd);
  }
}

/**
 * Who can put a socket or a specification here becomes part of the engine. So the file belongs to root (or whoever the engine
 * runs as), and so do all folders above it, and nobody else may write them; a sticky folder like /tmp lets nobody replace what is another's.
 */
function refuseStrangers(name: string, path: string): void {
  const mine = process.getuid?.() ?? 0;
  const refuse = (where: string, why: string): never => {
    throw new EngineError('forbidden', `plugin ${name}: ${path} is refused: ${where} ${why}`);
  };
  const file = statOf(path);
  if (file && file.uid !== 0 && file.uid !== mine) refuse(path, `belongs to user ${file.uid}`);
  for (let folder = dirname(path); ; folder = dirname(folder)) {
    const stat = lstatSync(folder);
    // /run may be reached over /var/run: a link is as good as whoever may change it.
    if (stat.uid !== 0 && stat.uid !== mine) refuse(folder, `belongs to user ${stat.uid}`);
    if (!stat.isSymbolicLink() && (stat.mode & 0o022) !== 0 && (stat.mode & 0o1000) === 0) refuse(folder, 'can be written by others');
    if (folder === '/' || basename(folder) === '') return;
  }
}
