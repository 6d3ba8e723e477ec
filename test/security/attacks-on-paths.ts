import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, renameSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Json, seccompProfile } from '../conformance/runtime-bundle.js';
import { type Arena, list, object, slow } from './arena.js';
import { type Attack, mounts } from './attack.js';

/** As if nothing were mounted there: what the image has is what the runtime finds. */
const without =
  (...destinations: readonly string[]) =>
  (spec: Json): unknown =>
    (spec['mounts'] = mounts(spec).filter(({ destination }) => !destinations.some((gone) => String(destination).startsWith(gone))));

const replaceInImage = (arena: Arena, path: string, target: string): void => {
  const at = join(arena.rootfs, path);
  rmSync(at, { recursive: true, force: true });
  mkdirSync(join(at, '..'), { recursive: true });
  symlinkSync(target, at);
};

/** The attack goes through when the host's folder is not as it was. */
const changesVictim = (arena: Arena, body: () => void): string | undefined => {
  const before = arena.victimState();
  body();
  return arena.victimState() === before ? undefined : 'the host’s files were changed';
};

/** What a program of the image touches when it is executed: the host has no /inside, and the container not the arena's folder. */
const trojanCanaries = (arena: Arena): string[] => {
  mkdirSync(join(arena.rootfs, 'inside'));
  return [join(arena.folder, 'canary'), join(arena.rootfs, 'inside/canary')];
};

const PLACES = ['dev', 'dev/pts', 'dev/shm', 'dev/mqueue', 'proc', 'sys', 'sys/fs/cgroup', 'etc', 'run', 'tmp', 'data'];

/** Attacks by paths: what the image, or a sibling, has where the runtime looks or writes. */
export const attacksOnPaths: readonly Attack[] = [
  {
    name: 'a null device of the image’s own over what is masked (CVE-2025-31133)',
    attempt(arena) {
      writeFileSync(join(arena.rootfs, 'etc/decoy'), 'decoy');
      replaceInImage(arena, 'dev/null', '../etc/decoy');
      const { out } = arena.run(['cat', '/proc/timer_list', '/proc/keys'], without('/dev'));
      return out.includes('decoy') ? 'a masked file is one of the image’s choice' : undefined;
    },
  },
  {
    name: 'links in the image where the runtime mounts and makes things (CVE-2026-41579 and others)',
    attempt(arena) {
      return changesVictim(arena, () => {
        for (const place of PLACES) {
          for (const target of [`${arena.victim}/inner`, `${'../'.repeat(40)}${arena.victim.slice(1)}/new`, `${arena.victim}/new/deep`]) {
            replaceInImage(arena, place, target);
            arena.run(['true'], (spec) => {
              mounts(spec).push({ destination: `/${place}/below`, type: 'tmpfs', source: 'tmpfs', options: [] });
              object(spec['linux'])['devices'] = [
                { path: `/${place}/node`, type: 'c', major: 1, minor: 3, fileMode: 0o666, uid: 7, gid: 7 },
              ];
            });
            rmSync(join(arena.rootfs, place), { force: true });
            mkdirSync(join(arena.rootfs, place), { recursive: true });
          }
        }
      });
    },
  },
  {
    name: 'a console that is a link out of the image (CVE-2025-52565)',
    attempt(arena) {
      return changesVictim(arena, () => {
        replaceInImage(arena, 'dev/console', `${arena.victim}/console`);
        mkdirSync(join(arena.rootfs, 'dev/pts'), { recursive: true });
        const words = ['--root', join(arena.folder, 'state'), 'run', '--bundle', arena.folder, 'c'];
        arena.configure(['true'], (spec) => {
          object(spec['process'])['terminal'] = true;
          spec['mounts'] = mounts(spec).filter(({ destination }) => destination !== '/dev');
        });
        spawnSync('script', ['-qec', [arena.program, ...words].join(' '), '/dev/null'], { stdio: 'ignore', timeout: 10_000 * slow });
      });
    },
  },
  {
    name: 'a procfs that is something else, for what the runtime writes there (CVE-2019-16884, CVE-2025-52881 and others)',
    attempt(arena) {
      mkdirSync(join(arena.rootfs, 'fake/sys/kernel'), { recursive: true });
      writeFileSync(join(arena.rootfs, 'fake/sys/kernel/msgmax'), '');
      const fake = { type: 'bind', source: join(arena.rootfs, 'fake'), options: ['rbind'] };
      const tries: Json[][] = [
        [{ destination: '/proc', ...fake }],
        [{ destination: '/proc/sys', ...fake, source: join(arena.rootfs, 'fake/sys') }],
        [{ destination: '/proc/self/attr', type: 'tmpfs', source: 'tmpfs', options: [] }],
        [{ destination: '/proc/self/attr/exec', type: 'bind', source: '/proc/self/sched', options: ['bind'] }],
      ];
      for (const hostile of tries) {
        const { code } = arena.run(['true'], (spec) => {
          mounts(spec).push(...hostile);
          object(spec['linux'])['sysctl'] = { 'kernel.msgmax': '1234' };
        });
        if (code === 0) return `mounted over procfs: ${JSON.stringify(hostile)}`;
      }
      replaceInImage(arena, 'proc', '/fake');
      return arena.run(['true']).code === 0 ? 'procfs was mounted where a link led' : undefined;
    },
  },
  {
    name: 'a mount’s target that a sibling exchanges for a link (CVE-2021-30465, CVE-2024-45310)',
    attempt(arena) {
      const volume = join(arena.folder, 'volume');
      mkdirSync(join(volume, 'inside'), { recursive: true });
      symlinkSync('inside', join(volume, 'a'));
      // The sibling is a process that renames without end, as one in another container with the same volume would.
      const swap = `const fs = require('fs'); process.chdir(${JSON.stringify(volume)});
        for (;;) for (const to of ['inside', ${JSON.stringify(arena.victim)}]) { fs.symlinkSync(to, 'x'); fs.renameSync('x', 'a'); }`;
      const sibling = spawn(process.execPath, ['-e', swap], { stdio: 'ignore' });
      try {
        return changesVictim(arena, () => {
          for (let round = 0; round < 60; round++) {
            arena.run(['true'], (spec) => {
              mounts(spec).push({ destination: '/v', type: 'bind', source: volume, options: ['rbind'] });
              for (const name of ['one', 'two']) {
                mounts(spec).push({ destination: `/v/a/${name}${round}/x`, type: 'tmpfs', source: 'tmpfs', options: [] });
              }
            });
          }
        });
      } finally {
        sibling.kill('SIGKILL');
      }
    },
  },
  {
    name: 'a ps of the image’s own (CVE-2022-1227)',
    attempt(arena) {
      const canaries = trojanCanaries(arena);
      rmSync(join(arena.rootfs, 'bin/ps'));
      writeFileSync(join(arena.rootfs, 'bin/ps'), `#!/bin/sh\ntouch ${canaries[0]} /inside/canary\n`, { mode: 0o755 });
      arena.start(['sleep', '100']);
      arena.call('ps', 'c');
      return canaries.some((canary) => existsSync(canary)) ? 'the image’s ps was executed' : undefined;
    },
  },
  {
    name: 'a password file that blocks or has no end',
    attempt(arena) {
      const passwd = join(arena.rootfs, 'etc/passwd');
      const kinds: Record<string, () => void> = {
        'a fifo': () => spawnSync('mkfifo', [passwd]),
        'a link to a device': () => symlinkSync('/dev/zero', passwd),
        'ten sparse gigabytes': () => (writeFileSync(passwd, ''), truncateSync(passwd, 10 * 2 ** 30)),
        'a link to the host’s': () => symlinkSync(`${'../'.repeat(40)}${arena.victim.slice(1)}/file`, passwd),
      };
      for (const [kind, make] of Object.entries(kinds)) {
        rmSync(passwd, { force: true });
        make();
        arena.configure(['sh', '-c', 'echo $HOME'], (spec) => {
          const process = object(spec['process']);
          process['env'] = list(process['env']).filter((pair) => !String(pair).startsWith('HOME='));
        });
        const words = ['--root', join(arena.folder, 'state'), 'run', '--bundle', arena.folder, 'c'];
        const done = spawnSync(arena.program, words, { encoding: 'utf8', timeout: 5000 * slow });
        arena.call('delete', '--force', 'c');
        if (done.error || done.stdout !== '/\n') return `${kind}: ${done.error?.message ?? done.stderr + done.stdout}`;
      }
      return undefined;
    },
  },
  {
    name: 'programs and libraries of the image in the runtime’s hands (CVE-2019-14271)',
    attempt(arena) {
      const canaries = trojanCanaries(arena);
      for (const name of ['ps', 'nsenter', 'tar', 'gantry-seccomp', 'runc']) {
        writeFileSync(join(arena.rootfs, 'bin', `${name}-trojan`), `#!/bin/sh\ntouch ${canaries[0]} /inside/canary\n`, { mode: 0o755 });
        rmSync(join(arena.rootfs, 'bin', name), { force: true });
        renameSync(join(arena.rootfs, 'bin', `${name}-trojan`), join(arena.rootfs, 'bin', name));
      }
      mkdirSync(join(arena.rootfs, 'lib'), { recursive: true });
      for (const name of ['libnss_files.so.2', 'libc.so.6', 'ld-linux-x86-64.so.2'])
        writeFileSync(join(arena.rootfs, 'lib', name), 'trojan');
      writeFileSync(join(arena.rootfs, 'etc/ld.so.preload'), '/lib/libc.so.6\n');
      arena.start(['sleep', '100'], (spec) => (object(spec['linux'])['seccomp'] = seccompProfile()));
      arena.call('ps', 'c');
      arena.call('exec', '--user', '1000', 'c', 'true');
      arena.call('events', '--stats', 'c');
      arena.call('delete', '--force', 'c');
      return canaries.some((canary) => existsSync(canary)) ? 'a program of the image was executed' : undefined;
    },
  },
];
