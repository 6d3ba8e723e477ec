import { createReadStream } from 'node:fs';
import type { Digest } from '../contracts/ids.js';
import type { Content } from '../content/content.js';
import type { Descriptor } from '../content/manifest.js';
import type { RegistryClient } from './registry-client.js';
import { RegistryError } from './registry-error.js';
import { RETRY_BACKOFF, retrying } from './retry.js';
import type { StreamBody } from './transport.js';

export type UploadResult = { readonly how: 'exists' } | { readonly how: 'mounted'; readonly from: string } | { readonly how: 'pushed' };

/** Blobs up to this size go in one request. */
const MONOLITHIC = 1024 * 1024;

export interface UploadOptions {
  /** Repositories of the same registry that may have the blob. */
  readonly mountFrom: readonly string[];
  readonly attempts: number;
  readonly backoff?: number;
  readonly signal: AbortSignal;
  onProgress(current: number): void;
  onRetry(seconds: number): void;
}

/** Makes sure that the registry has a blob: it has it, takes it from another repository, or is sent it. */
export async function uploadBlob(
  client: RegistryClient,
  content: Content,
  blob: Descriptor,
  options: UploadOptions,
): Promise<UploadResult> {
  const { attempts, backoff = RETRY_BACKOFF, signal } = options;
  const onWait = (milliseconds: number): void => options.onRetry(Math.ceil(milliseconds / 1000));
  const again = { attempts, backoff, signal, onWait };
  if (await retrying(again, () => client.hasBlob(blob.digest, signal))) return { how: 'exists' };
  for (const from of options.mountFrom) if (await mounted(client, blob.digest, from, signal)) return { how: 'mounted', from };

  const path = await content.path(blob.digest);
  let location: URL | undefined;
  await retrying(again, async () => {
    if (blob.size <= MONOLITHIC) {
      const start = await client.startUpload(undefined, signal);
      if (start.mounted) return;
      await client.finishUpload(start.location, blob.digest, await content.read(blob.digest, MONOLITHIC), signal);
      return;
    }
    const resumed: { bytes: number; location: URL } | undefined = location && (await whereItStopped(client, location, signal));
    if (resumed) location = resumed.location;
    else {
      const start = await client.startUpload(undefined, signal);
      if (start.mounted) return;
      location = start.location;
    }
    const from = resumed?.bytes ?? 0;
    if (from < blob.size) location = await client.uploadChunk(location, from, fileBody(path, from, blob.size, options.onProgress), signal);
    await client.finishUpload(location, blob.digest, Buffer.alloc(0), signal);
  });
  return { how: 'pushed' };
}

/** A registry that does not want to mount says so in many ways; an upload then does. */
async function mounted(client: RegistryClient, digest: Digest, from: string, signal: AbortSignal): Promise<boolean> {
  try {
    return (await client.startUpload({ digest, from }, signal)).mounted;
  } catch (error) {
    if (error instanceof RegistryError) return false;
    throw error;
  }
}

/** `undefined` when the registry has forgotten the upload. */
async function whereItStopped(
  client: RegistryClient,
  location: URL,
  signal: AbortSignal,
): Promise<{ bytes: number; location: URL } | undefined> {
  try {
    return await client.uploadedBytes(location, signal);
  } catch (error) {
    if (error instanceof RegistryError && !error.transient) return undefined;
    throw error;
  }
}

function fileBody(path: string, from: number, size: number, onProgress: (current: number) => void): StreamBody {
  return {
    length: size - from,
    async *open() {
      let sent = from;
      for await (const chunk of createReadStream(path, {
        start: from,
        end: size - 1,
        highWaterMark: 256 * 1024,
      }) as AsyncIterable<Buffer>) {
        yield chunk;
        sent += chunk.length;
        onProgress(sent);
      }
    },
  };
}
