import { spawnSync } from 'node:child_process';
import { closeSync, constants, mkdirSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { encodeEntry, EntryDecoder } from '../server/log-entry.js';
import { type Check, Skipped, type Subject } from './suite.js';

const infoOf = (id: string): object => ({
  Config: {},
  ContainerID: id,
  ContainerName: '/check',
  ContainerEntrypoint: 'sh',
  ContainerArgs: null,
  ContainerImageID: `sha256:${'0'.repeat(64)}`,
  ContainerImageName: 'check',
  ContainerCreated: '2026-01-01T00:00:00Z',
  ContainerEnv: null,
  ContainerLabels: {},
  LogPath: '',
  DaemonName: 'check',
});

/** A FIFO as engines make it, kept open in both directions until the plugin has drained it. */
function fifo(subject: Subject): { path: string; fd: number } {
  mkdirSync(subject.folder, { recursive: true });
  const path = join(subject.folder, subject.fresh('fifo'));
  if (spawnSync('mkfifo', ['-m', '600', path]).status !== 0) throw new Skipped('mkfifo does not work here');
  return { path, fd: openSync(path, constants.O_RDWR | constants.O_NONBLOCK) };
}

const write = (fd: number, text: string, time: bigint): void =>
  void writeSync(fd, encodeEntry({ source: 'stdout', time, line: Buffer.from(text), partial: false }));

const read = async (subject: Subject, id: string): Promise<string[]> => {
  const config = { Since: '0001-01-01T00:00:00Z', Until: '0001-01-01T00:00:00Z', Tail: -1, Follow: false };
  const { status, text } = await subject.ask('LogDriver.ReadLogs', { Info: infoOf(id), Config: config });
  subject.must(status === 200, 'ReadLogs answers a stream');
  return new EntryDecoder().push(Buffer.from(text, 'utf8')).map(({ line }) => line.toString());
};

const readable = async (subject: Subject): Promise<boolean> => {
  const { Cap } = await subject.ok('LogDriver.Capabilities');
  return (Cap as { ReadLogs?: boolean } | undefined)?.ReadLogs === true;
};

export const logChecks: readonly Check[] = [
  {
    name: 'takes entries and drains them at the end',
    async run(subject) {
      const id = subject.id();
      const { path, fd } = fifo(subject);
      await subject.ok('LogDriver.StartLogging', { File: path, Info: infoOf(id) });
      for (let line = 1; line <= 100; line++) write(fd, `line ${line}`, BigInt(line));
      // There is no end of the file to be read: the engine keeps its own end open until this was answered.
      await subject.ok('LogDriver.StopLogging', { File: path }, 'StopLogging is answered while the engine holds the FIFO open');
      closeSync(fd);
      if (!(await readable(subject))) return;
      const lines = await read(subject, id);
      subject.must(lines.length === 100 && lines[99] === 'line 100', 'all that was written before StopLogging is kept, in order');
    },
  },
  {
    name: 'forgives the end of what never began',
    async run(subject) {
      await subject.ask('LogDriver.StopLogging', { File: join(subject.folder, subject.fresh('fifo')) });
    },
  },
  {
    name: 'takes a FIFO again after it was killed',
    async run(subject) {
      const id = subject.id();
      const { path, fd } = fifo(subject);
      await subject.ok('LogDriver.StartLogging', { File: path, Info: infoOf(id) });
      await subject.restart();
      await subject.ok('LogDriver.StartLogging', { File: path, Info: infoOf(id) }, 'StartLogging of a FIFO from before a restart succeeds');
      write(fd, 'after', 1n);
      await subject.ok('LogDriver.StopLogging', { File: path });
      closeSync(fd);
      if (await readable(subject)) subject.must((await read(subject, id)).includes('after'), 'entries after a restart are kept');
    },
  },
  {
    name: 'keeps the logs of many containers apart',
    async run(subject) {
      const streams = Array.from({ length: 8 }, () => ({ id: subject.id(), ...fifo(subject) }));
      try {
        await Promise.all(streams.map(({ id, path }) => subject.ok('LogDriver.StartLogging', { File: path, Info: infoOf(id) })));
        for (const { id, fd } of streams) write(fd, `of ${id}`, 1n);
        await Promise.all(streams.map(({ path }) => subject.ok('LogDriver.StopLogging', { File: path })));
      } finally {
        for (const { fd } of streams) closeSync(fd);
      }
      if (!(await readable(subject))) return;
      for (const { id } of streams) {
        const lines = await read(subject, id);
        subject.must(lines.length === 1 && lines[0] === `of ${id}`, 'the log of a container has its own lines and no other');
      }
    },
  },
  {
    name: 'goes on with a log from one run of a container to the next',
    async run(subject) {
      const id = subject.id();
      for (const run of ['first', 'second']) {
        const { path, fd } = fifo(subject);
        await subject.ok('LogDriver.StartLogging', { File: path, Info: infoOf(id) });
        write(fd, run, 1n);
        await subject.ok('LogDriver.StopLogging', { File: path });
        closeSync(fd);
      }
      if (await readable(subject)) {
        const lines = await read(subject, id);
        subject.must(lines.join(' ') === 'first second', 'a container that is started again goes on with its log');
      }
    },
  },
  {
    name: 'refuses a call with an empty body and goes on',
    async run(subject) {
      await subject.refused('LogDriver.StartLogging', undefined, 'StartLogging without a file is refused');
      await subject.ok('LogDriver.Capabilities');
    },
  },
];
