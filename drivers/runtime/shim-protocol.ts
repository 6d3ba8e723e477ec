/** The wire between a shim and its clients; native/shim/PROTOCOL.md describes it and native/shim/protocol.h is the other end. */

export const PROTOCOL_VERSION = 1;
export const HEADER_SIZE = 12;
export const MAX_PAYLOAD = 256 * 1024;
export const MAX_STDIN = 64 * 1024;

export const Frame = {
  hello: 1,
  create: 2,
  state: 3,
  start: 4,
  attach: 5,
  stdin: 6,
  closeStdin: 7,
  resize: 8,
  kill: 9,
  exec: 10,
  delete: 11,
  ok: 128,
  error: 129,
  output: 130,
  end: 131,
  exit: 132,
} as const;

export const StreamFlag = { stdin: 1, stdout: 2, stderr: 4 } as const;

export const Reason = { protocol: 1, conflict: 2, notFound: 3, runtime: 4, system: 5 } as const;

export const EXIT_OOM_KILLED = 1;

export interface FrameHeader {
  readonly size: number;
  readonly type: number;
  readonly flags: number;
  readonly tag: number;
}

export function encodeFrame(type: number, flags: number, tag: number, payload: Buffer): Buffer {
  const frame = Buffer.allocUnsafe(HEADER_SIZE + payload.length);
  frame.writeUInt32LE(payload.length, 0);
  frame.writeUInt16LE(type, 4);
  frame.writeUInt16LE(flags, 6);
  frame.writeUInt32LE(tag, 8);
  payload.copy(frame, HEADER_SIZE);
  return frame;
}

export type FieldValue = string | number | boolean | undefined;

/** `key=value` strings, each ended by NUL. A list gives its key several times; `undefined` is left out. */
export function encodeFields(fields: Readonly<Record<string, FieldValue | readonly string[]>>): Buffer {
  const parts: string[] = [];
  const add = (key: string, value: FieldValue): void => {
    if (value === undefined) return;
    const text = typeof value === 'boolean' ? (value ? '1' : '0') : String(value);
    if (text.includes('\0')) throw new RangeError(`a NUL character in ${key}`);
    parts.push(`${key}=${text}\0`);
  };
  for (const [key, value] of Object.entries(fields)) {
    if (Array.isArray(value)) for (const item of value as readonly string[]) add(key, item);
    else add(key, value as FieldValue);
  }
  return Buffer.from(parts.join(''));
}

export function decodeFields(payload: Buffer): Map<string, string> {
  const fields = new Map<string, string>();
  for (const item of payload.toString('utf8').split('\0')) {
    const equals = item.indexOf('=');
    if (equals > 0) fields.set(item.slice(0, equals), item.slice(equals + 1));
  }
  return fields;
}

export interface ExitFrame {
  /** '' for the container's first process, else the name that the exec was given. */
  readonly name: string;
  readonly code: number;
  readonly at: number;
  readonly oomKilled: boolean;
}

export function decodeExit(header: FrameHeader, payload: Buffer): ExitFrame {
  return {
    code: payload.readUInt32LE(0),
    at: Number(payload.readBigUInt64LE(4)),
    name: payload.toString('latin1', 12),
    oomKilled: (header.flags & EXIT_OOM_KILLED) !== 0,
  };
}
