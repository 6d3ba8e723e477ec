import { Readable } from 'node:stream';
import type { ReadableStream } from 'node:stream/web';
import { EngineError, invalid, messageOf } from '../../contracts/errors.js';

/** Milliseconds that a server gets to begin its answer. */
const PATIENCE = 30_000;

/** The archive behind the URL of an import. A name without scheme is taken for http, as Docker does. */
export async function openImportSource(source: string, signal: AbortSignal): Promise<{ url: string; content: Readable }> {
  const text = /^[a-z][a-z0-9+.-]*:\/\//i.test(source) ? source : `http://${source}`;
  const url = URL.parse(text);
  if (!url || !/^https?:$/.test(url.protocol)) throw invalid(`invalid import source: ${JSON.stringify(source.slice(0, 200))}`);
  const begun = new AbortController();
  const timer = setTimeout(() => begun.abort(), PATIENCE);
  let response: Response;
  try {
    response = await fetch(url, { signal: AbortSignal.any([signal, begun.signal]), redirect: 'follow' });
  } catch (error) {
    const cause = error instanceof Error && error.cause ? error.cause : error;
    throw new EngineError('system', `cannot download ${url.href}: ${begun.signal.aborted ? 'no answer in time' : messageOf(cause)}`, {
      cause: error,
    });
  } finally {
    clearTimeout(timer);
  }
  if (!response.ok || !response.body) {
    await response.body?.cancel();
    throw invalid(`cannot download ${url.href}: the server answered ${response.status} ${response.statusText}`.trimEnd());
  }
  return { url: url.href, content: Readable.fromWeb(response.body as ReadableStream) };
}
