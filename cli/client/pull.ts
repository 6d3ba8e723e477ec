import { showProgress, type ProgressOutput } from '../render/progress.js';
import type { Client } from './client.js';
import { registryAuth } from './credentials.js';
import { parseReference } from './reference.js';
import { documents } from './stream.js';
import type { ProgressMessage } from './types.js';

export interface PullOptions {
  platform?: string;
  /** Unpack for this storage driver now, rather than when a container needs it. */
  storageDriver?: string;
  all?: boolean;
  quiet?: boolean;
}

/** Fetches an image and shows how far it is. */
export const pullImage = async (
  client: Client,
  configFolder: string,
  image: string,
  options: PullOptions,
  out: ProgressOutput,
): Promise<void> => {
  const { name, tag, digest } = parseReference(image);
  const response = await client.open('POST', '/images/create', {
    query: {
      fromImage: hostKept(image, name),
      tag: options.all ? undefined : (digest ?? tag ?? 'latest'),
      platform: options.platform || undefined,
      'storage-driver': options.storageDriver || undefined,
    },
    headers: { 'X-Registry-Auth': await registryAuth(configFolder, image) },
  });
  await showProgress(documents<ProgressMessage>(response.body), options.quiet ? { write: () => true } : out);
};

/** The repository as it was typed, with the host of Docker Hub where it was left out. */
const hostKept = (typed: string, name: string): string =>
  /^[^/]*[.:][^/]*\/|^localhost\//.test(typed) && !/^(index\.)?docker\.io\//.test(typed)
    ? name
    : `docker.io/${name.includes('/') ? name : `library/${name}`}`;
