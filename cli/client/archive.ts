import { path } from './client.js';
import type { Client } from './client.js';
import type { HttpResponse } from './http.js';

/** What the engine says of a path in a container. */
export interface PathStat {
  name: string;
  size: number;
  /** Bits of Go's FileMode. */
  mode: number;
  mtime: string;
  linkTarget: string;
}

const directoryBit = 0x80000000;
const symlinkBit = 0x08000000;

export const isDirectory = (stat: PathStat): boolean => (stat.mode & directoryBit) !== 0;
export const isSymlink = (stat: PathStat): boolean => (stat.mode & symlinkBit) !== 0;

export const statPath = async (client: Client, container: string, name: string): Promise<PathStat> => {
  const response = await client.open('HEAD', path`/containers/${container}/archive`, { query: { path: name } });
  response.socket.destroy();
  return statOf(response);
};

export const statOf = (response: HttpResponse): PathStat => {
  const header = response.headers.get('x-docker-container-path-stat');
  if (!header) throw new Error('unable to retrieve container path stat header');
  return JSON.parse(Buffer.from(header, 'base64').toString('utf8')) as PathStat;
};
