import { createHash } from 'node:crypto';
import { newId } from '@gantry/core/contracts/ids.js';
import { ociProcess } from '@gantry/test/fakes/bundle.js';
import { ATTACH_ALL, collect, forEachRuntime, until } from '@gantry/test/fakes/tasks.js';
import { expect, it } from 'vitest';

const OUTPUT_ONLY = { stdin: false, stdout: true, stderr: true };

forEachRuntime('a stream', (bench) => {
  it('carries input until the first client ends it', async () => {
    const task = await bench().create(['cat'], { openStdin: true, stdinOnce: true });
    const stream = await task.attach(ATTACH_ALL);
    const output = collect(stream);
    await task.start();
    await stream.write(Buffer.from('hello\n'));
    await until(() => output.stdout === 'hello\n');
    stream.closeStdin();
    expect((await task.wait()).code).toBe(0);
    await output.ended;
  });

  it('keeps the input open for the next client when it is not for the first alone', async () => {
    const task = await bench().create(['cat'], { openStdin: true, stdinOnce: false });
    const first = await task.attach(ATTACH_ALL);
    await task.start();
    await first.write(Buffer.from('a'));
    first.closeStdin();
    first.detach();
    const second = await task.attach(ATTACH_ALL);
    const output = collect(second);
    await second.write(Buffer.from('b'));
    await until(() => output.stdout.endsWith('b'));
  });

  it('ends the input when its one client is gone', async () => {
    const task = await bench().create(['cat'], { openStdin: true, stdinOnce: true });
    const stream = await task.attach(ATTACH_ALL);
    await task.start();
    await stream.write(Buffer.from('last words'));
    stream.detach();
    expect((await task.wait()).code).toBe(0);
  });

  it('gives an empty input where none is kept open', async () => {
    const { exit, output } = await bench().run(['sh', '-c', 'cat; echo done']);
    expect([exit.code, output.stdout]).toEqual([0, 'done\n']);
  });

  it('carries megabytes in and out unchanged, to several clients', async () => {
    const size = 50 << 20;
    const task = await bench().create(['cat'], { openStdin: true, stdinOnce: true });
    const writer = await task.attach(ATTACH_ALL);
    const reader = await task.attach(OUTPUT_ONLY);
    const hashes = [writer, reader].map((stream) => {
      const state = { hash: createHash('sha1'), size: 0, ended: stream.ended };
      stream.onOutput(async (_, chunk) => {
        state.hash.update(chunk);
        state.size += chunk.length;
        if (state.size % 7 === 0) await new Promise((resolve) => setImmediate(resolve));
      });
      return state;
    });
    await task.start();
    const expected = createHash('sha1');
    const block = Buffer.alloc(1 << 20);
    for (let sent = 0; sent < size; sent += block.length) {
      block.fill(`block ${sent} `);
      expected.update(block);
      await writer.write(Buffer.from(block));
    }
    writer.closeStdin();
    expect((await task.wait()).code).toBe(0);
    await Promise.all(hashes.map((state) => state.ended));
    const digest = expected.digest('hex');
    expect(hashes.map((state) => [state.size, state.hash.digest('hex')])).toEqual([
      [size, digest],
      [size, digest],
    ]);
  });

  it('gives all output of a process that wrote more than anybody had read when it ended', async () => {
    const { exit, output } = await bench().run(['sh', '-c', 'yes 123456789 | head -n 300000; echo end >&2']);
    expect(exit.code).toBe(0);
    expect([output.stdout.length, output.stderr]).toEqual([3_000_000, 'end\n']);
  });

  it('is lost for a reader that stands still, and the container goes on', async () => {
    const task = await bench().create(['sh', '-c', 'yes 123456789 | head -n 1000000; exit 5']);
    const stuck = await task.attach(OUTPUT_ONLY);
    stuck.onOutput(() => new Promise(() => undefined));
    await task.start();
    expect((await task.wait()).code).toBe(5);
    await expect(stuck.ended).rejects.toThrow(/lost/);
  });

  it('waits for a reader that is slow but reads', async () => {
    const task = await bench().create(['sh', '-c', 'yes 123456789 | head -n 300000']);
    const slow = await task.attach(OUTPUT_ONLY);
    let size = 0;
    slow.onOutput(async (_, chunk) => {
      size += chunk.length;
      await new Promise((resolve) => setTimeout(resolve, 15));
    });
    await task.start();
    await task.wait();
    await slow.ended;
    expect(size).toBe(3_000_000);
  });

  it('does not wait for ever for output that a process outside holds open', async () => {
    const task = await bench().create(['sleep', '60']);
    await task.start();
    // The exec's child stays in the container and keeps the exec's output open.
    const spec = { process: ociProcess(['sh', '-c', 'sleep 50 & echo now']), terminal: false, openStdin: false };
    const process = await task.exec(newId(), spec, ATTACH_ALL);
    const output = collect(process.stream);
    expect((await process.wait()).code).toBe(0);
    const waited = performance.now();
    await output.ended;
    // Long before the one outside ends.
    expect(performance.now() - waited).toBeLessThan(40_000);
    expect(output.stdout).toBe('now\n');
  });

  it('leaves a process alone when it is detached', async () => {
    const task = await bench().create(['sleep', '60']);
    await task.start();
    const spec = { process: ociProcess(['sh', '-c', 'usleep 200000; yes | head -n 100000; exit 9']), terminal: false, openStdin: false };
    const process = await task.exec(newId(), spec, ATTACH_ALL);
    process.stream.detach();
    await process.stream.ended;
    expect((await process.wait()).code).toBe(9);
  });
});

forEachRuntime('a terminal', (bench) => {
  const SIZE = 'stty size; read x; stty size; echo got $x; test -t 0 && test -t 1 && test -t 2 && exit 7';

  it('has the size it was created with, and then the one it is given', async () => {
    const task = await bench().create(['sh', '-c', SIZE], { terminal: true, consoleSize: [33, 101], openStdin: true });
    const stream = await task.attach(ATTACH_ALL);
    const output = collect(stream);
    await task.start();
    await until(() => output.stdout.includes('33 101'));
    await task.resize(44, 122);
    await stream.write(Buffer.from('typed\n'));
    expect((await task.wait()).code).toBe(7);
    await output.ended;
    expect(output.stdout).toContain('44 122\r\n');
    expect(output.stdout).toContain('got typed\r\n');
    expect(output.stderr).toBe('');
  });

  it('passes typed control characters as signals', async () => {
    const task = await bench().create(['sh', '-c', 'trap "echo caught; exit 3" INT; echo ready; while true; do usleep 50000; done'], {
      terminal: true,
      openStdin: true,
    });
    const stream = await task.attach(ATTACH_ALL);
    const output = collect(stream);
    await task.start();
    await until(() => output.stdout.includes('ready'));
    await stream.write(Buffer.from([3]));
    expect((await task.wait()).code).toBe(3);
    await output.ended;
    expect(output.stdout).toContain('caught');
  });

  it('belongs to an exec as well', async () => {
    const task = await bench().create(['sleep', '60']);
    await task.start();
    const spec = { process: ociProcess(['sh', '-c', SIZE], true), terminal: true, consoleSize: [21, 91] as const, openStdin: true };
    const process = await task.exec(newId(), spec, ATTACH_ALL);
    const output = collect(process.stream);
    await until(() => output.stdout.includes('21 91'));
    await process.resize(22, 92);
    await process.stream.write(Buffer.from('there\n'));
    expect((await process.wait()).code).toBe(7);
    await output.ended;
    expect(output.stdout).toContain('22 92\r\n');
    await expect(task.resize(1, 1)).rejects.toMatchObject({ kind: 'conflict' });
  });

  it('reports a missing executable', async () => {
    const failure = bench()
      .create(['nosuchprogram'], { terminal: true })
      .then((task) => task.start());
    await expect(failure).rejects.toThrow(/executable file not found/);
  });
});
