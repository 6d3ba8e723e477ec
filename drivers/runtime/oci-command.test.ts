import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { newId } from '@gantry/core/contracts/ids.js';
import { host } from '@gantry/native/index.js';
import { ociProcess } from '@gantry/test/fakes/bundle.js';
import { ATTACH_ALL, collect, forEachRuntime, until } from '@gantry/test/fakes/tasks.js';
import { expect, it } from 'vitest';

const failureOf = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => undefined,
    (error: unknown) => error,
  );

forEachRuntime('a task', (bench) => {
  it('gives both streams and the exit code', async () => {
    const before = Date.now();
    const { exit, output, task } = await bench().run(['sh', '-c', 'echo out; echo err >&2; exit 42']);
    expect(output).toMatchObject({ stdout: 'out\n', stderr: 'err\n' });
    expect(exit).toMatchObject({ code: 42, oomKilled: false });
    expect(exit.at).toBeGreaterThanOrEqual(before);
    expect(JSON.parse(readFileSync(join(bench().stateDir(task.id), 'exit.json'), 'utf8'))).toMatchObject({ code: 42 });
  });

  it('tells death by a signal as 128 + n', async () => {
    const task = await bench().create(['sleep', '60']);
    await task.start();
    await task.kill(9);
    expect((await task.wait()).code).toBe(137);
    await expect(task.kill(9)).rejects.toMatchObject({ kind: 'conflict' });
  });

  it('does not start by itself, and is deleted before it was started', async () => {
    const task = await bench().create(['sh', '-c', 'exit 1']);
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(host.process.startTime(task.pid)).toBeTypeOf('number');
    await task.delete();
    expect(host.process.startTime(task.pid)).toBeUndefined();
  });

  it('cannot be started twice, nor after it was killed', async () => {
    const task = await bench().create(['sleep', '60']);
    await task.start();
    await expect(task.start()).rejects.toMatchObject({ kind: 'conflict' });
    const other = await bench().create(['sleep', '60']);
    await other.kill(9);
    expect((await other.wait()).code).toBe(137);
    await expect(other.start()).rejects.toMatchObject({ kind: 'conflict' });
  });

  it('names a missing executable as clients expect it, and leaves nothing', async () => {
    const started = (args: string[]) =>
      failureOf(
        bench()
          .create(args)
          .then((task) => task.start()),
      );
    const absent = await started(['/no/such/program']);
    expect(absent).toMatchObject({ name: 'EngineError', kind: 'invalid-parameter' });
    expect(String(absent)).toMatch(/no such file or directory|executable file not found/);
    expect(String(await started(['nosuchprogram']))).toContain('executable file not found');
    expect(String(await started(['/etc']))).toMatch(/permission denied|is a directory/);
  });

  it('kills what is deleted while it runs, however it is asked', async () => {
    const task = await bench().create(['sh', '-c', 'trap "" TERM; sleep 100 & sleep 100']);
    await task.start();
    await Promise.all([task.delete(), task.delete()]);
    await task.delete();
    expect((await task.wait()).code).toBe(137);
  });

  it('runs another process with streams, code and signals of its own', async () => {
    const task = await bench().create(['sleep', '60']);
    await task.start();
    const spec = { process: ociProcess(['sh', '-c', 'cat; echo err >&2; exit 3']), terminal: false, openStdin: true };
    const process = await task.exec(newId(), spec, ATTACH_ALL);
    const output = collect(process.stream);
    await process.stream.write(Buffer.from('through'));
    process.stream.closeStdin();
    expect((await process.wait()).code).toBe(3);
    await output.ended;
    expect(output).toMatchObject({ stdout: 'through', stderr: 'err\n' });

    const sleeper = await task.exec(newId(), { process: ociProcess(['sleep', '60']), terminal: false, openStdin: false }, ATTACH_ALL);
    await sleeper.kill(15);
    expect((await sleeper.wait()).code).toBe(143);
    await expect(sleeper.kill(15)).rejects.toMatchObject({ kind: 'conflict' });
  });

  it('says why another process could not be added, and goes on', async () => {
    const task = await bench().create(['sleep', '60']);
    await task.start();
    const spec = { process: ociProcess(['nosuchprogram']), terminal: false, openStdin: false };
    const failure = await failureOf(task.exec(newId(), spec, ATTACH_ALL));
    expect(failure).toMatchObject({ kind: 'invalid-parameter' });
    expect(String(failure)).toContain('executable file not found');
    await task.kill(9);
    await task.wait();
    await expect(task.exec(newId(), spec, ATTACH_ALL)).rejects.toMatchObject({ kind: 'conflict' });
  });

  it('runs many others at once, each with its own end', async () => {
    const task = await bench().create(['sleep', '60']);
    await task.start();
    const codes = await Promise.all(
      Array.from({ length: 12 }, async (_, i) => {
        const spec = { process: ociProcess(['sh', '-c', `echo ${i}; exit ${i}`]), terminal: false, openStdin: false };
        const process = await task.exec(newId(), spec, ATTACH_ALL);
        const output = collect(process.stream);
        const { code } = await process.wait();
        await output.ended;
        expect(output.stdout).toBe(`${i}\n`);
        return code;
      }),
    );
    expect(codes).toEqual(Array.from({ length: 12 }, (_, i) => i));
  });

  it('is paused, resumed and measured', async () => {
    const task = await bench().create(['sh', '-c', 'while true; do echo x; usleep 5000; done']);
    let seen = 0;
    (await task.attach({ stdin: false, stdout: true, stderr: true })).onOutput((_, chunk) => {
      seen += chunk.length;
    });
    await task.start();
    await until(() => seen > 0);
    expect(await task.pids()).toContain(task.pid);
    await task.pause();
    // What was written before is still on its way; then nothing comes.
    let frozen = -1;
    while (frozen !== seen) {
      frozen = seen;
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
    await task.resume();
    await until(() => seen > frozen);
    const usage = await task.usage();
    expect(usage.pids).toBeGreaterThanOrEqual(1);
    expect(usage.memoryUsage).toBeGreaterThan(0);
    expect(usage.cpuTotalNs).toBeGreaterThan(0);
    await task.pause();
    await task.delete();
    expect((await task.wait()).code).toBe(137);
  });

  it('is limited anew while it runs', async (context) => {
    const task = await bench().create(['sleep', '60']);
    await task.start();
    const failure = await failureOf(task.update({ pids: { limit: 77 } }));
    if (String(failure).includes('no command update')) {
      console.log(`${bench().name} has no update`);
      context.skip();
    }
    expect(failure).toBeUndefined();
    expect((await task.usage()).pidsLimit).toBe(77);
  });

  it('was killed for lack of memory when the kernel did so', async () => {
    const { exit } = await bench().run(['sh', '-c', 'x=0123456789abcdef; while true; do x=$x$x; done'], {
      bundleOptions: { memory: 16 << 20 },
    });
    expect(exit).toMatchObject({ code: 137, oomKilled: true });
  });
});
