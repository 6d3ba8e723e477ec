import type { WriteStream } from 'node:tty';
import type { ProgressMessage } from '../client/types.js';
import { ApiError } from '../client/client.js';
import { printable } from './quote.js';
import { humanSize } from './units.js';

/** The part of an output that progress is shown on. */
export interface ProgressOutput {
  write(text: string): unknown;
  isTTY?: boolean;
  columns?: number;
  rows?: number;
}

const redrawEvery = 80;

/**
 * Shows a stream of progress until it ends: on a terminal one line for each layer, redrawn in place; elsewhere one plain line
 * for each change of status.
 *
 * @param onAux is told what the engine says to programs, such as the id of what was made
 * @throws ApiError with the engine's words when the stream tells of an error
 */
export const showProgress = async (
  messages: AsyncIterable<ProgressMessage>,
  out: ProgressOutput | WriteStream,
  onAux?: (aux: NonNullable<ProgressMessage['aux']>) => void,
): Promise<void> => {
  const view = out.isTTY ? new LiveProgress(out) : new PlainProgress(out);
  try {
    for await (const message of messages) {
      if (message.error !== undefined || message.errorDetail)
        throw new ProgressError(message.errorDetail?.message ?? message.error ?? 'unknown error');
      if (message.aux) onAux?.(message.aux);
      else view.show(message);
    }
  } finally {
    view.end();
  }
};

/** What failed after the engine had begun to answer; shown without a preface, as Docker's clients do. */
export class ProgressError extends ApiError {
  constructor(reason: string) {
    super(200, reason);
    this.message = reason;
  }
}

class PlainProgress {
  constructor(private readonly out: ProgressOutput) {}

  show(message: ProgressMessage): void {
    if (message.stream !== undefined) this.out.write(message.stream);
    else if (barOf(message) === '' && message.status !== undefined)
      this.out.write(`${message.id ? `${message.id}: ` : ''}${message.status}\n`);
  }

  end(): void {}
}

interface Line {
  text: string;
  finished: boolean;
}

const endings = /^(Pull complete|Already exists|Pushed|Layer already exists|Mounted from|Loaded|Download complete$)/;

class LiveProgress {
  private lines = new Map<string, Line>();
  /** How many lines of the block are on the screen, right above the cursor. */
  private drawn = 0;
  private timer: NodeJS.Timeout | undefined;

  constructor(private readonly out: ProgressOutput) {}

  show(message: ProgressMessage): void {
    if (message.stream !== undefined) {
      this.settle();
      this.out.write(printable(message.stream));
      return;
    }
    if (message.status === undefined) return;
    // The first line of a pull has an id too, the tag, but it never changes and belongs above the block.
    if (message.id === undefined || message.status.startsWith('Pulling from')) {
      this.settle();
      this.out.write(`${printable(message.id ? `${message.id}: ${message.status}` : message.status)}\n`);
      return;
    }
    const bar = barOf(message, (this.out.columns ?? 80) - message.id.length - message.status.length - 4);
    this.lines.set(message.id, {
      text: printable(`${message.id}: ${message.status}${bar === '' ? '' : ` ${bar}`}`),
      finished: endings.test(message.status),
    });
    this.timer ??= setTimeout(() => this.draw(), redrawEvery);
  }

  end(): void {
    this.settle();
  }

  /** Leaves the block on the screen as it is and starts a new one below. */
  private settle(): void {
    this.draw(true);
    this.lines = new Map();
    this.drawn = 0;
  }

  private draw(all = false): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    if (this.lines.size === 0) return;
    const width = Math.max(10, (this.out.columns ?? 80) - 1);
    // A cursor cannot go above the top of the screen: what does not fit is told in a number until the end.
    const room = Math.max(1, (this.out.rows ?? 24) - 1);
    let shown = [...this.lines.values()];
    let more = '';
    if (!all && shown.length > room) {
      const active = shown.filter((line) => !line.finished);
      shown = (active.length > 0 ? active : shown).slice(0, room - 1);
      more = `${this.lines.size - shown.length} more, ${this.lines.size - active.length} of ${this.lines.size} done`;
    }
    const texts = [...shown.map((line) => line.text), ...(more === '' ? [] : [more])].map((text) => text.slice(0, width));
    const up = this.drawn > 0 ? `\u001b[${this.drawn}A\r` : '';
    // Line by line, because a terminal may keep what a cleared screen held as if it had been output.
    this.out.write(`${up}${texts.map((text) => `${text}\u001b[K\n`).join('')}\u001b[J`);
    this.drawn = texts.length;
  }
}

/** `[=====>     ]  1.2MB/3.4MB`, as wide as there is room; empty where there is nothing to measure. */
const barOf = (message: ProgressMessage, room = 80): string => {
  const { current = 0, total = 0, units, hidecounts } = message.progressDetail ?? {};
  if (current <= 0 && total <= 0) return message.progressDetail ? '' : (message.progress ?? '');
  const amount = (value: number): string => (units && units !== 'bytes' ? String(value) : humanSize(value));
  if (total <= 0 || current > total) return `${amount(current).padStart(8)}${units && units !== 'bytes' ? ` ${units}` : ''}`;
  const counts = hidecounts ? '' : `  ${amount(current)}/${amount(total)}`;
  const width = Math.min(50, room - counts.length - 3);
  if (width < 8) return counts.trim();
  const filled = Math.floor((current / total) * width);
  return `[${'='.repeat(filled)}${filled < width ? '>' : ''}${' '.repeat(Math.max(0, width - filled - 1))}]${counts}`;
};
