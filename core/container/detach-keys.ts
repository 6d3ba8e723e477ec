import { invalid } from '../contracts/errors.js';

/** ctrl-p, ctrl-q. */
const DEFAULT_KEYS = Buffer.from([16, 17]);

const CONTROLS: Readonly<Record<string, number>> = { '@': 0, '[': 27, '\\': 28, ']': 29, '^': 30, _: 31 };

/** Docker's `ctrl-p,ctrl-q` or `a,b` as bytes. */
export function parseDetachKeys(text: string): Buffer {
  if (text === '') return DEFAULT_KEYS;
  const bytes = text.split(',').map((key) => {
    if (key.length === 1) return key.charCodeAt(0);
    const control = /^ctrl-(.)$/i.exec(key)?.[1]?.toLowerCase();
    const code = control !== undefined && /^[a-z]$/.test(control) ? control.charCodeAt(0) - 96 : CONTROLS[control ?? ''];
    if (code === undefined || key.length !== 6) throw invalid(`Invalid detach keys (${text}) provided`);
    return code;
  });
  if (bytes.some((byte) => byte > 127)) throw invalid(`Invalid detach keys (${text}) provided`);
  return Buffer.from(bytes);
}

/**
 * Looks for the key sequence in the input of a terminal. Keys that begin it are held back until it is decided; when the
 * sequence breaks off they are forwarded, so that ctrl-p alone still reaches a shell.
 */
export class DetachScanner {
  private matched = 0;

  constructor(private readonly keys: Buffer) {}

  feed(chunk: Buffer): { forward: Buffer; detached: boolean } {
    const out: number[] = [];
    for (const byte of chunk) {
      if (byte === this.keys[this.matched]) {
        this.matched++;
        if (this.matched === this.keys.length) return { forward: Buffer.from(out), detached: true };
        continue;
      }
      // Give back what was held, then see whether this key begins the sequence anew.
      for (let index = 0; index < this.matched; index++) out.push(this.keys[index] ?? 0);
      this.matched = 0;
      if (byte === this.keys[0]) this.matched = 1;
      else out.push(byte);
    }
    return { forward: Buffer.from(out), detached: false };
  }

  /** What is still held back when the input ends. */
  rest(): Buffer {
    const held = this.keys.subarray(0, this.matched);
    this.matched = 0;
    return Buffer.from(held);
  }
}
