import type { FastifyReply } from 'fastify';
import { messageOf } from '../contracts/errors.js';
import type { Progress, ProgressSink } from '../image/images.js';
import type { ApiContext } from './context.js';
import { limits } from './limits.js';
import { ResponseStream } from './response-stream.js';

/**
 * Serves a request whose answer is a stream of progress, one JSON object to a chunk with CRLF behind it. The first object fixes
 * the status: an error before is a plain answer, an error after is an object in the stream.
 */
export async function serveProgress(
  context: ApiContext,
  reply: FastifyReply,
  run: (sink: ProgressSink, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const left = new AbortController();
  const leave = (): void => left.abort();
  reply.raw.once('close', leave);
  const writer = new ProgressWriter(context, reply);
  try {
    await run((progress) => writer.progress(progress), left.signal);
  } catch (error) {
    if (!writer.started) throw error;
    await writer.finish({ errorDetail: { message: messageOf(error) }, error: messageOf(error) });
    return;
  }
  await writer.finish();
}

class ProgressWriter {
  private stream: ResponseStream | undefined;
  private opening: Promise<void> | undefined;
  private refused: { error: unknown } | undefined;
  private readonly early: string[] = [];

  constructor(
    private readonly context: ApiContext,
    private readonly reply: FastifyReply,
  ) {}

  get started(): boolean {
    return this.opening !== undefined && this.refused === undefined;
  }

  progress(progress: Progress): void {
    // A client that does not keep up misses figures on the way, never a state.
    if (progress.current !== undefined && progress.current !== progress.total && (this.stream?.backlog ?? 0) > limits.progressBacklog)
      return;
    this.line(progressJson(progress));
  }

  async finish(last?: object): Promise<void> {
    if (last) this.line(last);
    this.opening ??= this.open();
    await this.opening;
    if (this.refused) throw this.refused.error;
    await this.stream?.end();
  }

  private line(value: object): void {
    const text = `${JSON.stringify(value)}\r\n`;
    if (this.stream) {
      this.stream.push(text);
      return;
    }
    this.early.push(text);
    this.opening ??= this.open();
  }

  private async open(): Promise<void> {
    try {
      this.stream = await ResponseStream.open(this.context, this.reply, 'application/json');
      for (const text of this.early.splice(0)) this.stream.push(text);
    } catch (error) {
      this.refused = { error };
    }
  }
}

/** One line in the words that Docker's clients draw and parse. */
export function progressJson(progress: Progress): object {
  if (progress.stream !== undefined) return { stream: progress.stream };
  if (progress.aux) return { progressDetail: {}, aux: { Tag: progress.aux.tag, Digest: progress.aux.digest, Size: progress.aux.size } };
  const { id, status, current, total } = progress;
  if (current === undefined) return { status, ...(id === undefined ? {} : { progressDetail: {}, id }) };
  const detail = { current, ...(total === undefined || total <= 0 ? {} : { total }) };
  return { status, progressDetail: detail, progress: progressBar(current, total ?? 0), id };
}

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];

/** A size as Docker prints it: decimal units, up to four significant digits. */
export function humanSize(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < UNITS.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${Number(value.toPrecision(4))}${UNITS[unit] ?? ''}`;
}

/** The bar for clients that print it as it is. */
function progressBar(current: number, total: number): string {
  if (total <= 0) return humanSize(current).padStart(8);
  const filled = Math.min(50, Math.floor((current * 50) / total));
  const bar = filled >= 50 ? '='.repeat(50) + '>' : `${'='.repeat(filled)}>${' '.repeat(50 - filled)}`;
  return `[${bar}] ${humanSize(Math.min(current, total)).padStart(8)}/${humanSize(total)}`;
}
