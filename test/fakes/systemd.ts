import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';

export interface UnitCall {
  readonly member: string;
  /** Strings and numbers of the call, before its properties. */
  readonly arguments: unknown[];
  readonly properties: Record<string, unknown>;
}

/** Reads values of D-Bus by their signature. */
class Reader {
  at = 0;
  constructor(private readonly bytes: Buffer) {}

  align(to: number): void {
    this.at = Math.ceil(this.at / to) * to;
  }
  number(size: 1 | 4): number {
    this.align(size);
    const value = size === 1 ? this.bytes.readUInt8(this.at) : this.bytes.readUInt32LE(this.at);
    this.at += size;
    return value;
  }
  text(size: number): string {
    const value = this.bytes.toString('utf8', this.at, this.at + size);
    this.at += size;
    if (this.bytes[this.at++] !== 0) throw new Error('a string without its end');
    return value;
  }
  /** One complete type, and where the next begins. */
  value(signature: string, from = 0): [unknown, number] {
    const type = signature[from];
    switch (type) {
      case 's':
      case 'o':
        return [this.text(this.number(4)), from + 1];
      case 'g':
        return [this.text(this.number(1)), from + 1];
      case 'y':
        return [this.number(1), from + 1];
      case 'u':
        return [this.number(4), from + 1];
      case 'i':
        return [this.number(4) | 0, from + 1];
      case 'b':
        return [this.number(4) === 1, from + 1];
      case 't': {
        this.align(8);
        this.at += 8;
        return [this.bytes.readBigUInt64LE(this.at - 8), from + 1];
      }
      case 'v': {
        const inner = this.text(this.number(1));
        return [this.value(inner)[0], from + 1];
      }
      case '(': {
        this.align(8);
        const fields: unknown[] = [];
        let next = from + 1;
        while (signature[next] !== ')') {
          const [field, after] = this.value(signature, next);
          fields.push(field);
          next = after;
        }
        return [fields, next + 1];
      }
      case 'a': {
        const size = this.number(4);
        this.align(signature[from + 1] === '(' || signature[from + 1] === 't' ? 8 : 4);
        const end = this.at + size;
        const items: unknown[] = [];
        const next = skip(signature, from + 1);
        while (this.at < end) items.push(this.value(signature, from + 1)[0]);
        if (this.at !== end) throw new Error('an array of another length than it says');
        return [items, next];
      }
      default:
        throw new Error(`a value of type ${type}`);
    }
  }
}

function skip(signature: string, from: number): number {
  if (signature[from] === 'a') return skip(signature, from + 1);
  if (signature[from] !== '(') return from + 1;
  let next = from + 1;
  while (signature[next] !== ')') next = skip(signature, next);
  return next + 1;
}

class Writer {
  bytes = Buffer.alloc(0);
  raw(...values: number[]): this {
    this.bytes = Buffer.concat([this.bytes, Buffer.from(values)]);
    return this;
  }
  align(to: number): this {
    return this.raw(...Buffer.alloc((to - (this.bytes.length % to)) % to));
  }
  u32(value: number): this {
    this.align(4);
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(value);
    return this.raw(...bytes);
  }
  string(value: string): this {
    return this.u32(Buffer.byteLength(value)).raw(...Buffer.from(value), 0);
  }
  signature(value: string): this {
    return this.raw(value.length, ...Buffer.from(value), 0);
  }
}

/** Code, type and value of a field in a message's head. */
type Field = readonly [code: number, type: 'u' | 's' | 'o' | 'g', value: string | number];

/**
 * What a runtime needs of systemd, over D-Bus: it makes the cgroups of transient scopes, puts their processes there, and
 * writes down what it was asked.
 */
export class FakeSystemd {
  readonly calls: UnitCall[] = [];
  /** What the next job ends with. */
  result = 'done';
  private readonly server: Server;
  private serial = 0;

  constructor(
    readonly path: string,
    /** The hierarchies that it puts processes into. */
    private readonly roots: readonly string[],
  ) {
    this.server = createServer((socket) => this.serve(socket));
  }

  listen(): Promise<void> {
    return new Promise((resolve) => this.server.listen(this.path, resolve));
  }

  close(): void {
    this.server.close();
  }

  private serve(socket: Socket): void {
    let buffer = Buffer.alloc(0);
    let authenticated = false;
    socket.on('error', () => undefined);
    socket.on('data', (data: Buffer) => {
      buffer = Buffer.concat([buffer, data]);
      while (!authenticated) {
        const end = buffer.indexOf('\r\n');
        if (end < 0) return;
        const line = buffer.toString('utf8', 0, end).replace('\0', '');
        buffer = buffer.subarray(end + 2);
        if (line.startsWith('AUTH EXTERNAL ')) socket.write('OK 0123456789abcdef\r\n');
        authenticated = line === 'BEGIN';
      }
      while (buffer.length >= 16) {
        const bodySize = buffer.readUInt32LE(4);
        const bodyAt = Math.ceil((16 + buffer.readUInt32LE(12)) / 8) * 8;
        if (buffer.length < bodyAt + bodySize) return;
        this.answer(socket, buffer.subarray(0, bodyAt), buffer.subarray(bodyAt, bodyAt + bodySize));
        buffer = buffer.subarray(bodyAt + bodySize);
      }
    });
  }

  private answer(socket: Socket, head: Buffer, body: Buffer): void {
    const reader = new Reader(head);
    reader.at = 12;
    const fields = new Map(reader.value('a(yv)')[0] as [number, unknown][]);
    const member = String(fields.get(3));
    const signature = String(fields.get(8) ?? '');
    const content = new Reader(body);
    const values: unknown[] = [];
    for (let at = 0; at < signature.length;) {
      const [value, next] = content.value(signature, at);
      values.push(value);
      at = next;
    }
    const properties = Object.fromEntries((values.find((value) => Array.isArray(value)) ?? []) as [string, unknown][]);
    this.calls.push({ member, arguments: values.filter((value) => !Array.isArray(value)), properties });
    const reply = head.readUInt32LE(8);
    if (member === 'Hello') return this.send(socket, 2, [[5, 'u', reply]], 's', new Writer().string(':1.1'));
    if (member !== 'StartTransientUnit') return this.send(socket, 2, [[5, 'u', reply]], '', new Writer());
    const job = `/org/freedesktop/systemd1/job/${this.calls.length}`;
    const unit = String(values[0]);
    if (this.result === 'done') this.place(unit, properties);
    this.send(socket, 2, [[5, 'u', reply]], 'o', new Writer().string(job));
    const removed = new Writer().u32(this.calls.length).string(job).string(unit).string(this.result);
    const from: Field[] = [
      [1, 'o', '/org/freedesktop/systemd1'],
      [2, 's', 'org.freedesktop.systemd1.Manager'],
      [3, 's', 'JobRemoved'],
    ];
    this.send(socket, 4, from, 'uoss', removed);
  }

  private place(unit: string, properties: Record<string, unknown>): void {
    const stem = String(properties['Slice'])
      .replace(/\.slice$/, '')
      .split('-');
    const slices = stem.map((_, i) => `${stem.slice(0, i + 1).join('-')}.slice`);
    for (const root of this.roots) {
      const dir = join(root, ...slices, unit);
      mkdirSync(dir, { recursive: true });
      for (const pid of properties['PIDs'] as number[]) writeFileSync(join(dir, 'cgroup.procs'), String(pid));
    }
  }

  private send(socket: Socket, type: number, fields: readonly Field[], signature: string, body: Writer): void {
    const all: Field[] = signature === '' ? [...fields] : [...fields, [8, 'g', signature]];
    const head = new Writer();
    for (const [code, kind, value] of all) {
      head.align(8).raw(code).signature(kind);
      if (kind === 'u') head.u32(Number(value));
      else if (kind === 'g') head.signature(String(value));
      else head.string(String(value));
    }
    const message = new Writer()
      .raw('l'.charCodeAt(0), type, 0, 1)
      .u32(body.bytes.length)
      .u32(++this.serial)
      .u32(head.bytes.length);
    message
      .raw(...head.bytes)
      .align(8)
      .raw(...body.bytes);
    socket.write(message.bytes);
  }
}
