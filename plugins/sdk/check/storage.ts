import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Check, Subject } from './suite.js';

async function opened(subject: Subject): Promise<void> {
  const Home = join(subject.folder, 'home');
  mkdirSync(Home, { recursive: true });
  await subject.ok('GraphDriver.Init', { Home, Opts: null });
}

async function layer(subject: Subject, Parent: string, writable: boolean): Promise<string> {
  const ID = subject.id();
  await subject.ok(writable ? 'GraphDriver.CreateReadWrite' : 'GraphDriver.Create', { ID, ...(Parent && { Parent }) });
  return ID;
}

const place = async (subject: Subject, ID: string): Promise<string> => {
  const { Dir } = await subject.ok('GraphDriver.Get', { ID, MountLabel: '' });
  subject.must(typeof Dir === 'string' && existsSync(Dir), 'Get answers a folder that the engine sees');
  return Dir as string;
};

const exists = async (subject: Subject, ID: string): Promise<boolean> =>
  (await subject.ok('GraphDriver.Exists', { ID }))['Exists'] === true;

export const storageChecks: readonly Check[] = [
  {
    name: 'makes a layer on another, and keeps what is written in it from that one',
    async run(subject) {
      await opened(subject);
      const base = await layer(subject, '', true);
      writeFileSync(join(await place(subject, base), 'base'), 'base');
      await subject.ok('GraphDriver.Put', { ID: base });
      const upper = await layer(subject, base, true);
      const upperPlace = await place(subject, upper);
      subject.must(readFileSync(join(upperPlace, 'base'), 'utf8') === 'base', "a layer shows its parent's content");
      writeFileSync(join(upperPlace, 'upper'), 'upper');
      await subject.ok('GraphDriver.Put', { ID: upper });
      subject.must(!existsSync(join(await place(subject, base), 'upper')), 'what is written in a layer is not in its parent');
      await subject.ok('GraphDriver.Put', { ID: base });
      const { Changes } = await subject.ok('GraphDriver.Changes', { ID: upper, Parent: base });
      subject.must(
        ((Changes ?? []) as { Path?: string; Kind?: number }[]).some(({ Path, Kind }) => Path === '/upper' && Kind === 1),
        'Changes tells of a new file, with kind 1',
      );
      for (const ID of [upper, base]) await subject.ok('GraphDriver.Remove', { ID });
    },
  },
  {
    name: 'makes the same tree again from a difference',
    async run(subject) {
      await opened(subject);
      const first = await layer(subject, '', true);
      writeFileSync(join(await place(subject, first), 'file'), 'content');
      await subject.ok('GraphDriver.Put', { ID: first });
      const { status, text } = await subject.ask('GraphDriver.Diff', { ID: first });
      subject.must(status === 200 && text.length >= 1024, 'Diff answers an archive');
      const second = await layer(subject, '', false);
      await subject.ok(
        'GraphDriver.ApplyDiff',
        Buffer.from(text, 'utf8'),
        'ApplyDiff takes the archive that Diff gave',
        `?id=${second}&parent=`,
      );
      subject.must(
        readFileSync(join(await place(subject, second), 'file'), 'utf8') === 'content',
        'a difference makes the same tree again',
      );
      await subject.ok('GraphDriver.Put', { ID: second });
      for (const ID of [first, second]) await subject.ok('GraphDriver.Remove', { ID });
    },
  },
  {
    name: 'forgives the removal of a layer that is gone',
    async run(subject) {
      await opened(subject);
      const ID = await layer(subject, '', true);
      await subject.ok('GraphDriver.Remove', { ID });
      await subject.ok('GraphDriver.Remove', { ID }, 'Remove of a layer that is gone succeeds');
      subject.must(!(await exists(subject, ID)), 'a layer that was removed does not exist');
    },
  },
  {
    name: 'knows its layers again after it was killed',
    async run(subject) {
      await opened(subject);
      const ID = await layer(subject, '', true);
      await subject.restart();
      await opened(subject);
      subject.must(await exists(subject, ID), 'a layer exists after a restart');
      await subject.ok('GraphDriver.Remove', { ID });
    },
  },
  {
    name: 'counts its mounts',
    async run(subject) {
      await opened(subject);
      const ID = await layer(subject, '', true);
      const first = await place(subject, ID);
      subject.must((await place(subject, ID)) === first, 'a layer is at one place, however often it is asked for');
      writeFileSync(join(first, 'file'), 'content');
      await subject.ok('GraphDriver.Put', { ID });
      subject.must(readFileSync(join(first, 'file'), 'utf8') === 'content', 'of two Gets, one Put ends one');
      await subject.ok('GraphDriver.Put', { ID });
      await subject.ok('GraphDriver.Remove', { ID });
    },
  },
  {
    name: 'makes many layers at the same time',
    async run(subject) {
      await opened(subject);
      const base = await layer(subject, '', false);
      const ids = await Promise.all(Array.from({ length: 8 }, () => layer(subject, base, true)));
      for (const ID of ids) subject.must(await exists(subject, ID), 'layers that were made at the same time exist');
      await Promise.all(ids.map((ID) => subject.ok('GraphDriver.Remove', { ID })));
      await subject.ok('GraphDriver.Remove', { ID: base });
    },
  },
  {
    name: 'refuses a call with an empty body and goes on',
    async run(subject) {
      await opened(subject);
      await subject.refused('GraphDriver.Create', undefined, 'Create without an ID is refused');
      await subject.ok('GraphDriver.Remove', { ID: await layer(subject, '', true) });
    },
  },
  {
    name: 'can be killed between Get and Put',
    async run(subject) {
      await opened(subject);
      const ID = await layer(subject, '', true);
      writeFileSync(join(await place(subject, ID), 'file'), 'content');
      await subject.restart();
      await opened(subject);
      await subject.ask('GraphDriver.Put', { ID });
      subject.must(
        readFileSync(join(await place(subject, ID), 'file'), 'utf8') === 'content',
        'content lasts over a restart of the plugin',
      );
      await subject.ok('GraphDriver.Put', { ID });
      await subject.ok('GraphDriver.Remove', { ID });
    },
  },
];
