/** One entry of a container's output. */
export interface LogEntry {
  readonly source: 'stdout' | 'stderr';
  /** Nanoseconds since 1970, UTC. */
  readonly time: bigint;
  /** Without its line end. */
  readonly line: Buffer;
  /** A line of more than 16 KiB comes in several entries, all of them partial, the last one told in `piece`. */
  readonly partial: boolean;
  readonly piece?: { readonly id: string; readonly ordinal: number; readonly last: boolean };
}

/** Bytes of one framed entry: a line has 16 KiB at most. */
const LONGEST_FRAME = 1024 * 1024;

/** A frame as it goes through the FIFO and comes back from ReadLogs: four bytes of length, big end first, and a protobuf message. */
export function encodeEntry(entry: LogEntry): Buffer {
  const piece = entry.piece
    ? Buffer.concat([
        ...(entry.piece.last ? [Buffer.from([0x08, 1])] : []),
        field(2, Buffer.from(entry.piece.id)),
        ...(entry.piece.ordinal === 0 ? [] : [Buffer.from([0x18]), varint(BigInt(entry.piece.ordinal))]),
      ])
    : undefined;
  const message = Buffer.concat([
    field(1, Buffer.from(entry.source)),
    Buffer.from([0x10]),
    varint(entry.time),
    field(3, entry.line),
    ...(entry.partial ? [Buffer.from([0x20, 1])] : []),
    ...(piece ? [field(5, piece)] : []),
  ]);
  const frame = Buffer.allocUnsafe(4 + message.length);
  frame.writeUInt32BE(message.length, 0);
  message.copy(frame, 4);
  return frame;
}

const field = (number: number, bytes: Buffer): Buffer =>
  Buffer.concat([Buffer.from([(number << 3) | 2]), varint(BigInt(bytes.length)), bytes]);

function varint(value: bigint): Buffer {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, value);
  do {
    const low = Number(rest & 0x7fn);
    rest >>= 7n;
    bytes.push(rest > 0n ? low | 0x80 : low);
  } while (rest > 0n);
  return Buffer.from(bytes);
}

/** Puts entries together from bytes as they come. Throws on what is no frame. */
export class EntryDecoder {
  private rest: Buffer = Buffer.alloc(0);

  push(chunk: Buffer): LogEntry[] {
    this.rest = this.rest.length === 0 ? chunk : Buffer.concat([this.rest, chunk]);
    const entries: LogEntry[] = [];
    while (this.rest.length >= 4) {
      const size = this.rest.readUInt32BE(0);
      if (size > LONGEST_FRAME) throw new RangeError(`a log entry of ${size} bytes`);
      if (this.rest.length < 4 + size) break;
      entries.push(decodeEntry(this.rest.subarray(4, 4 + size)));
      this.rest = this.rest.subarray(4 + size);
    }
    return entries;
  }

  /** Whether an entry was begun and not ended. */
  get torn(): boolean {
    return this.rest.length > 0;
  }
}

function decodeEntry(message: Buffer): LogEntry {
  let source: LogEntry['source'] = 'stdout';
  let time = 0n;
  let line: Buffer = Buffer.alloc(0);
  let partial = false;
  let piece: LogEntry['piece'];
  for (const { number, value } of fieldsOf(message)) {
    if (number === 1 && Buffer.isBuffer(value)) source = value.toString() === 'stderr' ? 'stderr' : 'stdout';
    else if (number === 2 && typeof value === 'bigint') time = BigInt.asIntN(64, value);
    else if (number === 3 && Buffer.isBuffer(value)) line = value;
    else if (number === 4) partial = value !== 0n;
    else if (number === 5 && Buffer.isBuffer(value)) piece = decodePiece(value);
  }
  return { source, time, line, partial, ...(piece && { piece }) };
}

function decodePiece(message: Buffer): NonNullable<LogEntry['piece']> {
  let [id, ordinal, last] = ['', 0, false];
  for (const { number, value } of fieldsOf(message)) {
    if (number === 1) last = value !== 0n;
    else if (number === 2 && Buffer.isBuffer(value)) id = value.toString();
    else if (number === 3 && typeof value === 'bigint') ordinal = Number(BigInt.asIntN(32, value));
  }
  return { id, ordinal, last };
}

function* fieldsOf(message: Buffer): Generator<{ number: number; value: bigint | Buffer }> {
  let at = 0;
  const number = (): bigint => {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = message[at++];
      if (byte === undefined) throw new RangeError('a log entry ends in the middle of a number');
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    throw new RangeError('a number of more than ten bytes in a log entry');
  };
  while (at < message.length) {
    const key = Number(number());
    if ((key & 7) === 0) yield { number: key >> 3, value: number() };
    else if ((key & 7) === 2) {
      const size = Number(number());
      if (at + size > message.length) throw new RangeError('a log entry ends in the middle of a field');
      yield { number: key >> 3, value: message.subarray(at, at + size) };
      at += size;
    } else if ((key & 7) === 1) at += 8;
    else if ((key & 7) === 5) at += 4;
    else throw new RangeError(`wire type ${key & 7} in a log entry`);
  }
}
