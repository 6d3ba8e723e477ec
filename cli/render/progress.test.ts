import { describe, expect, it } from 'vitest';
import type { ProgressMessage } from '../client/types.js';
import { showProgress } from './progress.js';

const stream = async function* (messages: ProgressMessage[]): AsyncGenerator<ProgressMessage> {
  for (const message of messages) {
    yield message;
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
};

const record = (terminal?: {
  columns: number;
  rows: number;
}): { text: string; write(part: string): void; isTTY: boolean; columns?: number; rows?: number } => ({
  text: '',
  write(part) {
    this.text += part;
  },
  isTTY: terminal !== undefined,
  ...terminal,
});

const pull: ProgressMessage[] = [
  { status: 'Pulling from x', id: 'latest' },
  { status: 'Pulling fs layer', id: 'aaa', progressDetail: {} },
  { status: 'Downloading', id: 'aaa', progressDetail: { current: 5_000_000, total: 10_000_000 } },
  { status: 'Pull complete', id: 'aaa', progressDetail: {} },
  { status: 'Status: Downloaded newer image for x:latest' },
];

/** What the screen shows in the end, of the few sequences that progress uses. */
const screen = (text: string): string[] => {
  const lines: string[] = [''];
  let row = 0;
  for (const line of text.split('\n')) {
    // Each line may begin with a way up and a return, and ends with what clears the rest of it.
    const parts = line.split('\u001b[').filter((part) => part !== '');
    for (const part of parts) {
      const up = /^(\d+)A\r(.*)$/s.exec(part);
      if (up) row -= Number(up[1]);
      const shown = up ? up[2] : part === 'K' ? '' : part === 'J' ? '' : part.replace(/^J/, '');
      if (part.startsWith('J')) lines.splice(row);
      if (shown) lines[row] = shown;
    }
    row++;
  }
  return lines.filter((line) => line !== undefined && line !== '');
};

describe('progress', () => {
  it('is one plain line for each change of status in a pipe', async () => {
    const out = record();
    await showProgress(stream(pull), out);
    expect(out.text).toBe(
      'latest: Pulling from x\naaa: Pulling fs layer\naaa: Pull complete\nStatus: Downloaded newer image for x:latest\n',
    );
  });

  it('leaves one line for each layer on a terminal', async () => {
    const out = record({ columns: 80, rows: 24 });
    await showProgress(stream(pull), out);
    expect(screen(out.text)).toEqual(['latest: Pulling from x', 'aaa: Pull complete', 'Status: Downloaded newer image for x:latest']);
  });

  it('never writes a line wider than the terminal, nor a block higher', async () => {
    const out = record({ columns: 30, rows: 5 });
    const layers = Array.from({ length: 40 }, (_, at): ProgressMessage => ({
      status: 'Downloading',
      id: `layer${at}`,
      progressDetail: { current: at, total: 100 },
    }));
    await showProgress(
      (async function* () {
        for (const layer of layers) yield layer;
        await new Promise((resolve) => setTimeout(resolve, 120));
        expect(screen(out.text).length).toBeLessThan(5);
        expect(out.text).toContain('of 40 done');
      })(),
      out,
    );
    for (const line of screen(out.text)) expect(line.length).toBeLessThan(30);
    expect(screen(out.text)).toHaveLength(40);
  });

  it('shows control characters of a stranger harmless', async () => {
    const out = record({ columns: 80, rows: 24 });
    await showProgress(stream([{ status: 'evil \u001b]0;x\u0007' }]), out);
    expect(out.text).toBe('evil \\x1b]0;x\\x07\n');
  });

  it('fails with the words of an error in the stream, and keeps what was shown', async () => {
    const out = record();
    await expect(
      showProgress(stream([{ status: 'one' }, { error: 'short', errorDetail: { message: 'no space left' } }]), out),
    ).rejects.toThrow('no space left');
    expect(out.text).toBe('one\n');
  });

  it('hands what is meant for programs to the caller', async () => {
    const told: unknown[] = [];
    await showProgress(stream([{ aux: { ID: 'sha256:a' } }]), record(), (aux) => told.push(aux));
    expect(told).toEqual([{ ID: 'sha256:a' }]);
  });
});
