import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Check, Subject } from './suite.js';

const A = 'a'.repeat(64);
const B = 'b'.repeat(64);

async function made(subject: Subject, name = subject.fresh()): Promise<string> {
  await subject.ok('VolumeDriver.Create', { Name: name, Opts: null });
  return name;
}

async function mounted(subject: Subject, name: string, user: string): Promise<string> {
  const { Mountpoint } = await subject.ok('VolumeDriver.Mount', { Name: name, ID: user });
  subject.must(typeof Mountpoint === 'string' && Mountpoint.startsWith('/'), 'Mount answers an absolute path');
  subject.must(
    existsSync(Mountpoint as string) && statSync(Mountpoint as string).isDirectory(),
    'the Mountpoint is a folder that the engine sees',
  );
  return Mountpoint as string;
}

const listed = async (subject: Subject): Promise<string[]> => {
  const { Volumes } = await subject.ok('VolumeDriver.List', {});
  return ((Volumes ?? []) as { Name: string }[]).map(({ Name }) => Name);
};

export const volumeChecks: readonly Check[] = [
  {
    name: 'shows a new volume to Get and List',
    async run(subject) {
      const name = await made(subject);
      const { Volume } = await subject.ok('VolumeDriver.Get', { Name: name });
      subject.must((Volume as { Name?: string } | undefined)?.Name === name, 'Get speaks of the volume that was asked for');
      subject.must((await listed(subject)).includes(name), 'List shows a volume that was made');
      await subject.ok('VolumeDriver.Remove', { Name: name });
      subject.must(!(await listed(subject)).includes(name), 'List does not show a volume that was removed');
    },
  },
  {
    name: 'makes a volume once, however often it is asked',
    async run(subject) {
      const name = await made(subject);
      await subject.ok('VolumeDriver.Create', { Name: name, Opts: null }, 'Create of a volume that is there succeeds');
      subject.must((await listed(subject)).filter((found) => found === name).length === 1, 'a volume that was made twice is listed once');
      await subject.ok('VolumeDriver.Remove', { Name: name });
    },
  },
  {
    name: 'makes one volume of many calls at the same time',
    async run(subject) {
      const name = subject.fresh();
      await Promise.all(
        Array.from({ length: 16 }, () =>
          subject.ok('VolumeDriver.Create', { Name: name, Opts: {} }, 'Creates of one volume at the same time all succeed'),
        ),
      );
      subject.must((await listed(subject)).filter((found) => found === name).length === 1, 'volumes made at the same time are one');
      await subject.ok('VolumeDriver.Remove', { Name: name });
    },
  },
  {
    name: 'says that there is no such volume',
    async run(subject) {
      const answer = await subject.ask('VolumeDriver.Get', { Name: subject.fresh('ghost') });
      const { Volume, Err } = answer.answer;
      subject.must(
        answer.status !== 200 || Boolean(Err) || Volume === null || Volume === undefined,
        'Get of a volume that is not there is a failure, or has no Volume',
      );
      await subject.refused(
        'VolumeDriver.Mount',
        { Name: subject.fresh('ghost'), ID: A },
        'Mount of a volume that is not there is refused',
      );
    },
  },
  {
    name: 'keeps what was written from one mount to the next',
    async run(subject) {
      const name = await made(subject);
      writeFileSync(join(await mounted(subject, name, A), 'kept'), 'kept');
      await subject.ok('VolumeDriver.Unmount', { Name: name, ID: A });
      const again = await mounted(subject, name, B);
      subject.must(readFileSync(join(again, 'kept'), 'utf8') === 'kept', 'content lasts from one mount to the next');
      await subject.ok('VolumeDriver.Unmount', { Name: name, ID: B });
      await subject.ok('VolumeDriver.Remove', { Name: name });
    },
  },
  {
    name: 'counts its mounts',
    async run(subject) {
      const name = await made(subject);
      const one = await mounted(subject, name, A);
      const two = await mounted(subject, name, B);
      writeFileSync(join(one, 'shared'), '1');
      subject.must(existsSync(join(two, 'shared')), 'two users of a volume see the same content');
      await subject.ok('VolumeDriver.Unmount', { Name: name, ID: A });
      subject.must(existsSync(join(two, 'shared')), 'the end of one use leaves the other alone');
      await subject.ok('VolumeDriver.Unmount', { Name: name, ID: B });
      await subject.ok('VolumeDriver.Remove', { Name: name });
    },
  },
  {
    name: 'lets one user mount a volume twice',
    async run(subject) {
      // Docker does so for `docker cp` into a running container.
      const name = await made(subject);
      const path = await mounted(subject, name, A);
      await subject.ok('VolumeDriver.Mount', { Name: name, ID: A }, 'Mount with an ID that has the volume already succeeds');
      writeFileSync(join(path, 'file'), '1');
      await subject.ok('VolumeDriver.Unmount', { Name: name, ID: A });
      subject.must(existsSync(join(path, 'file')), 'of two mounts with one ID, one Unmount ends one');
      await subject.ok('VolumeDriver.Unmount', { Name: name, ID: A });
      await subject.ok('VolumeDriver.Remove', { Name: name });
    },
  },
  {
    name: 'refuses a call with an empty body and goes on',
    async run(subject) {
      // What engines send when they repeat a call whose body they have used up.
      await subject.refused('VolumeDriver.Create', undefined, 'Create without a name is refused');
      await subject.refused('VolumeDriver.Mount', undefined, 'Mount without a name is refused');
      await made(subject).then((name) => subject.ok('VolumeDriver.Remove', { Name: name }));
    },
  },
  {
    name: 'can be left in the middle of a call',
    async run(subject) {
      const name = subject.fresh();
      await subject.abandon('VolumeDriver.Create', { Name: name, Opts: null });
      await subject.ok('VolumeDriver.Create', { Name: name, Opts: null }, 'Create succeeds after one whose caller went away');
      await subject.ok('VolumeDriver.Remove', { Name: name });
    },
  },
  {
    name: 'finds its volumes again after it was killed',
    async run(subject) {
      const name = await made(subject);
      const path = await mounted(subject, name, A);
      writeFileSync(join(path, 'kept'), 'kept');
      await subject.restart();
      subject.must((await listed(subject)).includes(name), 'List shows after a restart what was made before');
      await subject.ok('VolumeDriver.Unmount', { Name: name, ID: A }, 'Unmount after a restart succeeds for a Mount from before');
      const again = await mounted(subject, name, B);
      subject.must(readFileSync(join(again, 'kept'), 'utf8') === 'kept', 'content lasts over a restart of the plugin');
      await subject.ok('VolumeDriver.Unmount', { Name: name, ID: B });
      await subject.ok('VolumeDriver.Remove', { Name: name });
    },
  },
  {
    name: 'can be killed in the middle of a call',
    async run(subject) {
      const name = subject.fresh();
      await subject.interrupt('VolumeDriver.Create', { Name: name, Opts: null });
      await subject.ok('VolumeDriver.Create', { Name: name, Opts: null }, 'Create succeeds after a kill in the middle of one');
      subject.must((await listed(subject)).filter((found) => found === name).length === 1, 'of a volume there is one, also after a kill');
      await subject.ok('VolumeDriver.Remove', { Name: name });
    },
  },
];
