import { spawn } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  rmSync,
  statSync,
} from 'node:fs';
import { connect, createServer, Socket, type Server } from 'node:net';
import { join } from 'node:path';
import { binFolder } from '@gantry/native/addon.js';
import { host } from '@gantry/native/index.js';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ShimConnection, ShimError } from './shim-connection.js';
import { decodeFields, encodeFields, encodeFrame, Frame } from './shim-protocol.js';

const shim = join(binFolder, 'gantry-shim');
if (!existsSync(shim)) console.log('gantry-shim: skipped: not built');

/** Where a process is; nothing for one that has gone. */
function cwdOf(pid: string): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/cwd`);
  } catch {
    return undefined;
  }
}

let folder: string;
beforeEach(() => {
  folder = mkdtempSync('/tmp/gantry-conn-');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe.skipIf(!existsSync(shim))('a shim without a container', () => {
  let control: ShimConnection;
  let ended: Promise<{ code: number }>;

  function start(runFolder: string): void {
    mkdirSync(runFolder, { recursive: true });
    const [ours, theirs] = host.process.socketPair();
    const child = host.process.spawn({ path: shim, args: [shim, 'test'], env: [], cwd: runFolder, fds: [-1, -1, -1, theirs] });
    host.process.closeFd(theirs);
    ended = child.exited;
    control = new ShimConnection(new Socket({ fd: ours, readable: true, writable: true }));
  }

  const state = async (connection: ShimConnection): Promise<string | undefined> =>
    decodeFields(await connection.request(Frame.state)).get('state');

  it('answers, and ends when nobody is connected any more', async () => {
    start(folder);
    await control.hello(60_000);
    expect(await state(control)).toBe('idle');
    control.close();
    const timer = setTimeout(() => undefined, 100_000);
    expect((await ended).code).toBe(0);
    clearTimeout(timer);
  });

  it('listens where nobody else can connect, and by a path alone', async () => {
    start(folder);
    await control.hello(60_000);
    const socket = join(folder, 'shim.sock');
    expect(statSync(socket).mode & 0o777).toBe(0o600);
    // An abstract name would be reachable from every container in the host's network namespace.
    const names = readFileSync('/proc/net/unix', 'utf8')
      .split('\n')
      .map((line) => line.split(' ').at(-1) ?? '');
    expect(names.filter((name) => name.startsWith('@') && name.includes('shim'))).toEqual([]);
    control.close();
  });

  it.skipIf(process.getuid?.() !== 0 || !existsSync('/usr/bin/setpriv') || !existsSync('/usr/bin/perl'))(
    'hears no other user, even one whom the file lets in (skipped without root, setpriv and perl)',
    async () => {
      chmodSync(folder, 0o755);
      start(folder);
      await control.hello(60_000);
      chmodSync(join(folder, 'shim.sock'), 0o666);
      const call = `use Socket; socket(S, AF_UNIX, SOCK_STREAM, 0); connect(S, sockaddr_un("${folder}/shim.sock")) or die; print sysread(S, $b, 1);`;
      const words = ['--reuid', '65534', '--regid', '65534', '--clear-groups', 'perl', '-e', call];
      const other = spawn('setpriv', words, { stdio: ['ignore', 'pipe', 'ignore'] });
      let heard = '';
      other.stdout.on('data', (chunk) => (heard += String(chunk)));
      await new Promise((resolve) => other.on('close', resolve));
      expect(heard).toBe('0');
      control.close();
    },
  );

  it('keeps no descriptor that it was not given', async () => {
    const leaked = openSync('/', 'r');
    start(folder);
    await control.hello(60_000);
    const found = await ShimConnection.connect(folder, 5000);
    const pid = readdirSync('/proc').find((name) => /^\d+$/.test(name) && cwdOf(name) === folder);
    const targets = readdirSync(`/proc/${pid}/fd`).map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`));
    for (const target of targets) expect(target).toMatch(/^(\/dev\/null|socket:\[\d+\]|anon_inode:\[(eventpoll|signalfd)\])$/);
    closeSync(leaked);
    found.close();
    control.close();
  });

  it('is found however deep its folder is', async () => {
    const deep = join(folder, 'x'.repeat(100), 'y'.repeat(100));
    start(deep);
    await control.hello(60_000);
    const second = await ShimConnection.connect(deep, 5000);
    expect(await state(second)).toBe('idle');
    second.close();
    control.close();
  });

  it('refuses what makes no sense and goes on', async () => {
    start(folder);
    await control.hello(60_000);
    const refused = (type: number, payload?: Buffer) =>
      control.request(type, payload).then(
        () => undefined,
        (error: unknown) => error,
      );
    expect(await refused(77)).toBeInstanceOf(ShimError);
    expect(await refused(Frame.create, Buffer.from('no end'))).toBeInstanceOf(ShimError);
    expect(await refused(Frame.create, encodeFields({ id: 'x' }))).toBeInstanceOf(ShimError);
    expect(await refused(Frame.exec, encodeFields({ name: '../x' }))).toBeInstanceOf(ShimError);
    expect(await refused(Frame.kill, Buffer.alloc(1))).toBeInstanceOf(ShimError);
    expect(await refused(Frame.resize, Buffer.alloc(300))).toBeInstanceOf(ShimError);
    expect(await refused(Frame.start)).toBeInstanceOf(ShimError);
    expect(await refused(Frame.attach)).toBeInstanceOf(ShimError);
    expect(await state(control)).toBe('idle');
    control.close();
  });

  it('survives garbage, cut frames, floods and crowds', async () => {
    start(folder);
    await control.hello(60_000);
    const stranger = (bytes: Buffer): Promise<void> =>
      new Promise((resolve) => {
        const socket = connect({ path: join(folder, 'shim.sock') }, () => socket.write(bytes, () => setTimeout(() => socket.destroy(), 5)));
        socket.on('error', () => undefined);
        socket.on('close', () => resolve());
        socket.resume();
      });
    const version = Buffer.from([1, 0, 0, 0]);
    const hello = encodeFrame(Frame.hello, 0, 1, version);
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), fc.boolean(), fc.integer({ min: 0, max: 15 }), async (bytes, polite, type) => {
        // Not `delete`, after which a shim that has nothing ends.
        const frame = encodeFrame(type === Frame.delete ? 99 : type, bytes.length & 7, 9, Buffer.from(bytes));
        await stranger(Buffer.concat([polite ? hello : Buffer.alloc(0), frame, Buffer.from(bytes)]));
      }),
      { numRuns: 60 },
    );
    const oversized = Buffer.alloc(12);
    oversized.writeUInt32LE(0xffffffff, 0);
    await stranger(Buffer.concat([hello, oversized, Buffer.alloc(100_000)]));
    await Promise.all(Array.from({ length: 400 }, () => stranger(hello)));
    expect(await state(control)).toBe('idle');
    control.close();
    const timer = setTimeout(() => undefined, 100_000);
    expect((await ended).code).toBe(0);
    clearTimeout(timer);
  });
});

describe('a connection', () => {
  let server: Server;
  afterEach(() => server.close());

  const against = async (answer: (socket: Socket) => void): Promise<Promise<ShimConnection>> => {
    server = createServer(answer);
    await new Promise<void>((resolve) => server.listen(join(folder, 'shim.sock'), resolve));
    return ShimConnection.connect(folder, 300);
  };

  it('gives up on a shim that never answers', async () => {
    await expect(against(() => undefined)).rejects.toThrow();
  });

  it('fails what is asked when the other side leaves or talks nonsense', async () => {
    await expect(against((socket) => socket.end())).rejects.toThrow(/closed/);
    server.close();
    const nonsense = Buffer.alloc(64, 0xff);
    await expect(against((socket) => socket.write(nonsense))).rejects.toThrow(/closed/);
  });

  it('hands over a frame however it is cut, and waits for its listener', async () => {
    const payload = Buffer.from('0123456789');
    const ok = encodeFrame(Frame.ok, 0, 1, Buffer.from([1, 0, 0, 0]));
    const frames = Buffer.concat([
      encodeFrame(Frame.output, 2, 0, payload),
      encodeFrame(Frame.output, 4, 0, payload),
      encodeFrame(Frame.end, 0, 0, Buffer.alloc(0)),
    ]);
    const connection = await against((socket) => {
      socket.write(ok);
      let at = 0;
      const timer = setInterval(() => {
        socket.write(frames.subarray(at, at + 3));
        at += 3;
        if (at >= frames.length) clearInterval(timer);
      }, 1);
    });
    const seen = { stdout: '', stderr: '' };
    let inside = 0;
    await new Promise<void>((resolve) =>
      connection.listen({
        output: async (name, chunk) => {
          expect(++inside).toBe(1);
          await new Promise((next) => setTimeout(next, 2));
          seen[name] += chunk.toString();
          --inside;
        },
        end: resolve,
      }),
    );
    expect(seen).toEqual({ stdout: '0123456789', stderr: '0123456789' });
    connection.close();
  });
});
