import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, readlinkSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { all, describeOci, linux, list, object, until, withMount, withUserNamespace, type OciTrial } from './oci-trial.js';

describeOci('mounts of a container', (trial) => {
  /** A tree with a tmpfs below it, for what is said of trees; taken away again by `body`'s end. */
  const withTree = (body: (source: string, oci: OciTrial) => void): void => {
    const oci = trial();
    const source = join(oci.folder, 'tree');
    mkdirSync(join(source, 'below'), { recursive: true });
    spawnSync('mount', ['-t', 'tmpfs', 'tmpfs', join(source, 'below')]);
    try {
      writeFileSync(join(source, 'f'), 'top');
      writeFileSync(join(source, 'below/f'), 'below');
      body(source, oci);
    } finally {
      spawnSync('umount', [join(source, 'below')]);
    }
  };
  const optionsOf = (mountinfo: string, point: string): string[] =>
    mountinfo
      .split('\n')
      .map((line) => line.split(' '))
      .filter((fields) => fields[4] === point)
      .map((fields) => fields[5] ?? '');

  it.each([
    ['ro', 'ro', 'rw'],
    ['rro', 'ro', 'ro'],
    ['rnosuid', 'nosuid', 'nosuid'],
    ['rnodev', 'nodev', 'nodev'],
    ['rnoexec', 'noexec', 'noexec'],
    ['rnoatime', 'noatime', 'noatime'],
    ['nosymfollow', 'nosymfollow', 'rw'],
    ['rnodiratime', 'nodiratime', 'nodiratime'],
    ['rstrictatime', '', ''],
  ])('applies %s to the mount or to the whole tree', (option, top, below) => {
    withTree((source, oci) => {
      const { out, err } = oci.run(
        'cat /proc/self/mountinfo',
        withMount({ destination: '/t', type: 'bind', source, options: ['rbind', option] }),
      );
      expect(err).toBe('');
      const words = (point: string): string[] => (optionsOf(out, point)[0] ?? 'absent').split(',');
      if (top === '') {
        expect([...words('/t'), ...words('/t/below')]).not.toContain('relatime');
        return;
      }
      expect(words('/t')).toContain(top);
      expect(words('/t/below')).toContain(below);
    });
  });

  it('takes a tree back to read-write by rrw', () => {
    withTree((source, oci) => {
      const mounts = [
        { destination: '/t', type: 'bind', source, options: ['rbind', 'rro'] },
        { destination: '/t', options: ['remount', 'bind', 'rrw'] },
      ];
      expect(oci.run('echo x > /t/below/new && echo ok', all(...mounts.map(withMount))).out).toBe('ok\n');
    });
  });

  it('leaves what is mounted below a bind out unless it is recursive', () => {
    withTree((source, oci) => {
      const bound = (option: string) =>
        oci.run('ls /t/below', withMount({ destination: '/t', type: 'bind', source, options: [option] })).out;
      expect([bound('bind'), bound('rbind')]).toEqual(['', 'f\n']);
    });
  });

  it.each([
    ['private', ''],
    ['rslave', 'master:'],
    ['rshared', 'shared:'],
    ['unbindable', 'unbindable'],
  ])('gives a mount the propagation %s', (propagation, tag) => {
    const oci = trial();
    const source = join(oci.folder, 'shared');
    mkdirSync(source, { recursive: true });
    spawnSync('mount', ['--bind', '--make-shared', source, source]);
    try {
      const { out } = oci.run(
        'grep " /t " /proc/self/mountinfo',
        all(
          withMount({ destination: '/t', type: 'bind', source, options: ['rbind', propagation] }),
          (spec) => (linux(spec)['rootfsPropagation'] = 'shared'),
        ),
      );
      const optional = out.split(' - ')[0]?.split(' ').slice(6).join(' ') ?? 'absent';
      if (tag === '') expect(optional).toBe('');
      else expect(optional).toContain(tag);
    } finally {
      spawnSync('umount', [source]);
    }
  });

  it.each(['shared', 'slave', 'private', 'unbindable', 'rshared', 'rslave', 'rprivate'])(
    'takes %s as the propagation of the root',
    (word) => {
      const { out, code } = trial().run(
        'grep " / / \\| / rw" /proc/self/mountinfo | head -1',
        (spec) => (linux(spec)['rootfsPropagation'] = word),
      );
      expect(code).toBe(0);
      if (word.endsWith('shared')) expect(out).toContain('shared:');
      if (word === 'unbindable') expect(out).toContain('unbindable');
    },
  );

  it('shows the host mounts made through a shared bind, and nothing through a slave', () => {
    const oci = trial();
    const source = join(oci.folder, 'through');
    mkdirSync(join(source, 'here'), { recursive: true });
    spawnSync('mount', ['--bind', '--make-rshared', source, source]);
    const here = join(source, 'here');
    const seen = (): boolean => readFileSync('/proc/self/mountinfo', 'utf8').includes(`${here} `);
    const mounting = (propagation: string) =>
      all(withMount({ destination: '/t', type: 'bind', source, options: ['rbind', propagation] }), (spec) => {
        linux(spec)['rootfsPropagation'] = propagation;
        object(object(spec['process'])['capabilities'])['effective'] = ['CAP_SYS_ADMIN'];
        object(object(spec['process'])['capabilities'])['permitted'] = ['CAP_SYS_ADMIN'];
        object(object(spec['process'])['capabilities'])['bounding'] = ['CAP_SYS_ADMIN'];
      });
    try {
      expect(oci.run('mount -t tmpfs x /t/here', mounting('rslave')).code).toBe(0);
      expect(seen()).toBe(false);
      expect(oci.run('mount -t tmpfs x /t/here', mounting('rshared')).code).toBe(0);
      expect(seen()).toBe(true);
    } finally {
      spawnSync('umount', [here]);
      spawnSync('umount', [source]);
    }
  });

  it('begins a tmpfs with what it covers for tmpcopyup', () => {
    const oci = trial();
    mkdirSync(join(oci.rootfs, 'seed/sub'), { recursive: true });
    writeFileSync(join(oci.rootfs, 'seed/f'), 'content', { mode: 0o640 });
    chownSync(join(oci.rootfs, 'seed/f'), 7, 8);
    chmodSync(join(oci.rootfs, 'seed/sub'), 0o1711);
    const seed = { destination: '/seed', type: 'tmpfs', source: 'tmpfs', options: ['tmpcopyup', 'ro'] };
    const { out } = oci.run(
      'cat /seed/f; stat -c " %u:%g:%a" /seed/f; stat -c %a /seed/sub; stat -f -c %T /seed; touch /seed/g 2>&1',
      withMount(seed),
    );
    expect(out).toMatch(/^content 7:8:640\n1711\ntmpfs\n.*Read-only/);
    expect(readFileSync(join(oci.rootfs, 'seed/f'), 'utf8')).toBe('content');
    const other = { destination: '/seed', type: 'ramfs', source: 'ramfs', options: ['tmpcopyup'] };
    expect(oci.run('true', withMount(other)).err).toContain('tmpcopyup is only for tmpfs');
  });

  it('gives options of a file system to it, and those of the mount to the mount', () => {
    const mount = {
      destination: '/t',
      type: 'tmpfs',
      source: 'named',
      options: ['size=1m,nr_inodes=64', 'mode=0711', 'noexec', 'sync', 'uid=5'],
    };
    const { out } = trial().run('grep " /t " /proc/self/mountinfo; stat -c "%a %u" /t; df -k /t | tail -1', withMount(mount));
    expect(out).toMatch(/ noexec,relatime| rw,noexec/);
    expect(out).toMatch(/ - tmpfs named .*sync/);
    expect(out).toMatch(/711 5\n/);
    expect(out).toMatch(/1024/);
  });

  it('binds sources that only the host may reach into a user namespace', () => {
    const oci = trial();
    spawnSync('chmod', ['755', oci.folder, oci.bundle]);
    const closed = join(oci.folder, 'closed');
    mkdirSync(join(closed, 'source'), { recursive: true });
    writeFileSync(join(closed, 'source/f'), 'inside');
    chmodSync(closed, 0o700);
    const bound = { destination: '/t', type: 'bind', source: join(closed, 'source'), options: ['bind', 'ro'] };
    const { out, err } = oci.run('cat /t/f; grep " /t " /proc/self/mountinfo', all(withUserNamespace, withMount(bound)));
    expect(err).toBe('');
    expect(out).toMatch(/^inside.* ro,/s);
  });

  it('maps the ids of a mount by its own mappings, and by those of the container with idmap', () => {
    const oci = trial();
    spawnSync('chmod', ['755', oci.folder, oci.bundle]);
    const source = join(oci.folder, 'owned');
    mkdirSync(source, { recursive: true });
    writeFileSync(join(source, 'f'), '');
    const owners = (mount: object, user: boolean) => {
      const change = withMount({ destination: '/m', type: 'bind', source, options: ['bind'], ...mount });
      const { out, err } = oci.run('stat -c %u:%g /m/f', user ? all(withUserNamespace, change) : change);
      return out + err;
    };
    const uidMappings = [{ containerID: 0, hostID: 7000, size: 100 }];
    const gidMappings = [{ containerID: 0, hostID: 8000, size: 100 }];
    expect(owners({ uidMappings, gidMappings }, false)).toBe('7000:8000\n');
    expect(owners({ options: ['bind', 'idmap'] }, true)).toBe('0:0\n');
    expect(owners({ options: ['bind', 'ridmap'] }, true)).toBe('0:0\n');
    expect(owners({}, true)).toBe('65534:65534\n');
    expect(owners({ options: ['bind', 'idmap'] }, false)).toContain('idmap without mappings: /m');
    expect(owners({ uidMappings }, false)).toContain('both uidMappings and gidMappings');
    expect(owners({ type: 'tmpfs', options: [], uidMappings, gidMappings }, false)).toContain('id-mapped mounts are bind mounts');
  });

  it('puts a container into a mount namespace that is given by its path, and takes its mounts out again', () => {
    const oci = trial();
    const other = spawn('unshare', ['-m', '--propagation', 'private', 'sleep', '100'], { stdio: 'ignore' });
    try {
      const path = `/proc/${other.pid}/ns/mnt`;
      until(() => readlinkSync(path) !== readlinkSync('/proc/self/ns/mnt'));
      const joining = (spec: object): void => {
        const namespaces = list(linux(object(spec))['namespaces']);
        linux(object(spec))['namespaces'] = namespaces.map((ns) => (ns['type'] === 'mount' ? { ...ns, path } : ns));
      };
      const table = (): string => readFileSync(`/proc/${other.pid}/mountinfo`, 'utf8');
      const before = table();
      const pid = oci.start(['sleep', '100'], joining);
      expect(readlinkSync(`/proc/${pid}/ns/mnt`)).toBe(readlinkSync(path));
      expect(table()).toContain(`${oci.rootfs}/proc `);
      expect(oci.call('exec', 'c', 'ls', '/').out).toContain('bin\n');
      expect(existsSync(`/proc/${pid}/root/usr`)).toBe(false);
      oci.call('delete', '--force', 'c');
      expect(table()).toBe(before);
      expect(oci.run('nosuch-program && false', (spec) => (joining(spec), (object(spec['process'])['args'] = ['nosuch']))).code).toBe(1);
      expect(table()).toBe(before);
    } finally {
      other.kill('SIGKILL');
    }
  });

  it('makes the root read-only and masks what is told', () => {
    const { out } = trial().run('touch /x 2>&1; cat /etc/passwd | wc -c; ls /etc/secret; touch /etc/shown/f 2>&1', (spec) => {
      object(spec['root'])['readonly'] = true;
      const oci = trial();
      mkdirSync(join(oci.rootfs, 'etc/secret'), { recursive: true });
      mkdirSync(join(oci.rootfs, 'etc/shown'), { recursive: true });
      writeFileSync(join(oci.rootfs, 'etc/secret/key'), 'key');
      linux(spec)['maskedPaths'] = ['/etc/passwd', '/etc/secret', '/nosuch'];
      linux(spec)['readonlyPaths'] = ['/etc/shown', '/nosuch'];
    });
    expect(out).toMatch(/Read-only.*\n0\n.*Read-only/s);
    expect(out).not.toContain('key');
  });

  it('makes the nodes that are listed with their owner and mode, pipes too', () => {
    const devices = [
      { path: '/dev/deep/er/null', type: 'c', major: 1, minor: 3, fileMode: 0o620, uid: 3, gid: 4 },
      { path: '/dev/loop', type: 'b', major: 7, minor: 0 },
      { path: '/dev/u', type: 'u', major: 1, minor: 5 },
      { path: '/dev/pipe', type: 'p', fileMode: 0o600 },
      { path: '/dev/zero', type: 'c', major: 1, minor: 5, fileMode: 0o600 },
    ];
    const script = 'for d in deep/er/null loop u pipe zero; do stat -c "%F %a %u:%g %t:%T" /dev/$d; done';
    const { out } = trial().run(script, (spec) => (linux(spec)['devices'] = devices));
    expect(out.split('\n')).toEqual([
      'character special file 620 3:4 1:3',
      'block special file 666 0:0 7:0',
      'character special file 666 0:0 1:5',
      'fifo 600 0:0 0:0',
      'character special file 600 0:0 1:5',
      '',
    ]);
  });

  it('does not take what an image has for a device', () => {
    const oci = trial();
    const change = (spec: object): void => {
      const at = list(object(spec)['mounts']).findIndex((mount) => mount['destination'] === '/dev');
      list(object(spec)['mounts']).splice(at, 1);
    };
    const node = join(oci.rootfs, 'dev/null');
    writeFileSync(node, 'not a device');
    try {
      const { code, err } = oci.run('true', change);
      expect(code).toBe(1);
      expect(err).toContain('mknod /dev/null: file exists');
      expect(statSync(node).isFile()).toBe(true);
    } finally {
      spawnSync('sh', ['-c', `umount -q ${oci.rootfs}/dev/* 2>/dev/null; rm -rf ${oci.rootfs}/dev && mkdir ${oci.rootfs}/dev`]);
    }
  });
});
