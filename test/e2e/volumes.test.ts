import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { whyNoEngine } from './engine.js';
import { openTrial, type Trial } from './trial.js';

const reason = whyNoEngine();

describe.skipIf(reason)(`volumes by docker and gantry${reason ? ` (skipped: ${reason})` : ''}`, () => {
  let trial: Trial;
  let scratch: string;
  const run = (program: 'docker' | 'gantry', args: readonly string[]): string => {
    const result = trial.engine[program](args);
    expect(result, `${program} ${args.join(' ')}\n${result.stderr}\n${trial.engine.log.slice(-1500)}`).toMatchObject({ code: 0 });
    return result.stdout.trim();
  };
  const docker = (...args: string[]): string => run('docker', args);
  const gantry = (...args: string[]): string => run('gantry', args);
  const mountpoint = (name: string): string => docker('volume', 'inspect', '-f', '{{.Mountpoint}}', name);

  beforeAll(async () => {
    trial = await openTrial();
    scratch = mkdtempSync('/tmp/gantry-volumes-');
  });
  afterAll(async () => {
    if (!trial) return;
    rmSync(scratch, { recursive: true, force: true });
    expect(await trial.close()).toEqual({});
  });

  it('are copied with owners and modes, on their own or as of one instant', () => {
    docker('volume', 'create', '--label', 'of=mine', 'one');
    docker(
      'run',
      '--rm',
      '-v',
      'one:/v',
      trial.image,
      'sh',
      '-c',
      'echo hello >/v/file; chown 7:8 /v/file; chmod 640 /v/file; chmod 711 /v',
    );
    expect(gantry('volume', 'clone', '--label', 'a=b', 'one', 'two')).toBe('two');
    const seen = ['run', '--rm', '-v', 'two:/v:ro', trial.image, 'sh', '-c', 'cat /v/file; stat -c "%u %g %a" /v/file /v'];
    expect(docker(...seen)).toBe('hello\n7 8 640\n0 0 711');
    expect(docker('volume', 'inspect', '-f', '{{json .Labels}}', 'two')).toBe('{"a":"b"}');

    const since = String(Date.now() / 1000);
    docker('run', '-d', '--name', 'writer', '-v', 'one:/v', trial.image, 'sleep', '1000');
    gantry('volume', 'snapshot', 'one', 'then');
    expect(docker('inspect', '-f', '{{.State.Status}}', 'writer')).toBe('running');
    const until = String(Date.now() / 1000 + 0.1);
    const told = docker('events', '--since', since, '--until', until, '-f', 'container=writer', '--format', '{{.Action}}');
    expect(told.split('\n').slice(-2)).toEqual(['pause', 'unpause']);
    docker('exec', 'writer', 'rm', '/v/file');
    expect(readFileSync(join(mountpoint('then'), 'file'), 'utf8')).toBe('hello\n');
    expect(docker('volume', 'inspect', '-f', '{{index .Labels "gantry.snapshot.of"}}', 'then')).toBe('one');

    expect(trial.engine.gantry(['volume', 'clone', 'one', 'two']).stderr).toContain('volume two exists already');
    expect(trial.engine.gantry(['volume', 'clone', 'none', 'three']).stderr).toContain('no such volume');
    expect(trial.engine.gantry(['volume', 'rename', 'one', 'three']).stderr).toContain('volume is in use');
    docker('rm', '-f', 'writer');
    gantry('volume', 'rename', 'one', 'three');
    expect(docker('volume', 'ls', '-q').split('\n')).toEqual(['then', 'three', 'two']);
    docker('volume', 'rm', 'then', 'three', 'two');
  });

  it('go into an archive and come back from it', () => {
    docker(
      'run',
      '--rm',
      '-v',
      'source:/v',
      trial.image,
      'sh',
      '-c',
      'mkdir /v/d; echo x >/v/d/f; ln -s /etc/shadow /v/link; chown 5 /v/d',
    );
    const archive = join(scratch, 'source.tar');
    gantry('volume', 'export', '-o', archive, 'source');
    docker('volume', 'create', 'back');
    gantry('volume', 'import', 'back', archive);
    const seen = ['run', '--rm', '-v', 'back:/v', trial.image, 'sh', '-c', 'cat /v/d/f; readlink /v/link; stat -c %u /v/d'];
    expect(docker(...seen)).toBe('x\n/etc/shadow\n5');
    expect(trial.engine.gantry(['volume', 'import', 'back', archive]).stderr).toContain('volume back is not empty');
    docker('volume', 'create', 'broken');
    writeFileSync(join(scratch, 'bad.tar'), readFileSync(archive).subarray(0, 1800));
    expect(trial.engine.gantry(['volume', 'import', 'broken', join(scratch, 'bad.tar')]).stderr).toContain('Error response from daemon');
    expect(docker('run', '--rm', '-v', 'broken:/v', trial.image, 'ls', '-A', '/v')).toBe('');
    docker('volume', 'rm', 'source', 'back', 'broken');
  });

  it('of memory take another size while they are in use', () => {
    docker('volume', 'create', '-o', 'type=tmpfs', '-o', 'device=tmpfs', '-o', 'o=size=1m', 'memory');
    docker('run', '-d', '--name', 'filler', '-v', 'memory:/v', trial.image, 'sleep', '1000');
    gantry('volume', 'resize', 'memory', '4m');
    docker('exec', 'filler', 'dd', 'if=/dev/zero', 'of=/v/big', 'bs=1M', 'count=3');
    expect(trial.engine.gantry(['volume', 'resize', 'memory', '64k']).stderr).toContain('holds more than');
    docker('rm', '-f', 'filler');
    docker('volume', 'create', 'folder');
    expect(trial.engine.gantry(['volume', 'resize', 'folder', '1m']).stderr).toMatch(/quota/);
    docker('volume', 'rm', 'memory', 'folder');
  });

  it('are still mounted for what outlived a daemon, and let go once it ends', async () => {
    docker('volume', 'create', '-o', 'type=tmpfs', '-o', 'device=tmpfs', 'kept');
    docker('run', '-d', '--name', 'user1', '-v', 'kept:/v', trial.image, 'sleep', '1000');
    docker('run', '-d', '--name', 'user2', '-v', 'kept:/v', trial.image, 'sleep', '1000');
    docker('exec', 'user1', 'touch', '/v/file');
    await trial.engine.down('SIGKILL');
    await trial.engine.up();
    docker('rm', '-f', 'user1');
    expect(trial.engine.docker(['volume', 'rm', 'kept']).stderr).toContain('volume is in use');
    expect(docker('exec', 'user2', 'ls', '/v')).toBe('file');
    expect(existsSync(join(mountpoint('kept'), 'file'))).toBe(true);
    docker('rm', '-f', 'user2');
    expect(existsSync(join(mountpoint('kept'), 'file'))).toBe(false);
    docker('volume', 'rm', 'kept');
  });

  it('can be images, read-only and in part, which stay for as long as a container mounts them', () => {
    docker('run', '--name', 'maker', trial.image, 'sh', '-c', 'mkdir -p /tool/bin; echo one >/tool/bin/file; ln -s /etc /tool/out');
    docker('commit', 'maker', 'tools');
    docker('rm', 'maker');
    const mount = 'type=image,source=tools,target=/tools';
    expect(docker('run', '--rm', '--mount', mount, trial.image, 'cat', '/tools/tool/bin/file')).toBe('one');
    expect(trial.engine.docker(['run', '--rm', '--mount', mount, trial.image, 'touch', '/tools/x']).stderr).toContain(
      'Read-only file system',
    );
    docker('run', '-d', '--name', 'user', '--mount', `${mount},image-subpath=tool/bin`, trial.image, 'sleep', '1000');
    expect(docker('exec', 'user', 'ls', '/tools')).toBe('file');
    expect(trial.engine.docker(['rmi', 'tools']).stderr).toContain('is using its referenced image');
    for (const [subpath, message] of [
      ['../x', 'relative path'],
      ['nowhere', 'cannot access path'],
    ] as const)
      expect(trial.engine.docker(['run', '--rm', '--mount', `${mount},image-subpath=${subpath}`, trial.image, 'true']).stderr).toContain(
        message,
      );
    // A link in it stays in it: what it leads to is the image's own.
    expect(docker('run', '--rm', '--mount', `${mount},image-subpath=tool/out`, trial.image, 'ls', '/tools')).toContain('passwd');
    expect(trial.engine.docker(['run', '--rm', '--mount', 'type=image,source=none,target=/x', trial.image, 'true']).stderr).toContain(
      'No such image: none',
    );
    docker('rm', '-f', 'user');
    docker('rmi', 'tools');
  });

  it('outlive the daemon as images, too', async () => {
    docker('tag', trial.image, 'tools');
    docker('run', '-d', '--name', 'user', '--mount', 'type=image,source=tools,target=/tools', trial.image, 'sleep', '1000');
    await trial.engine.down('SIGKILL');
    await trial.engine.up();
    expect(docker('exec', 'user', 'ls', '/tools/etc')).toContain('passwd');
    docker('restart', '-t', '0', 'user');
    expect(docker('exec', 'user', 'ls', '/tools/etc')).toContain('passwd');
    docker('rm', '-f', 'user');
    docker('rmi', 'tools');
  });

  it('are read-only with all that is mounted below them, unless that is to stay writable', () => {
    const tree = join(scratch, 'tree');
    mkdirSync(join(tree, 'below'), { recursive: true });
    expect(spawnSync('mount', ['-t', 'tmpfs', 'tmpfs', join(tree, 'below')]).status).toBe(0);
    try {
      const touch = (mount: string) =>
        trial.engine.docker([
          'run',
          '--rm',
          '--mount',
          `type=bind,source=${tree},target=/t,readonly${mount}`,
          trial.image,
          'touch',
          '/t/below/x',
        ]).code;
      expect([touch(''), touch(',bind-recursive=writable')]).toEqual([1, 0]);
      expect(touch(',bind-recursive=readonly,bind-propagation=rprivate')).toBe(1);
    } finally {
      spawnSync('umount', [join(tree, 'below')]);
    }
  });

  it('keep a part of a volume inside it while its other users swap links for folders', () => {
    const secret = join(scratch, 'secret');
    mkdirSync(secret);
    writeFileSync(join(secret, 'marker'), 'of the host');
    docker('volume', 'create', 'raced');
    const swap = `cd /v; mkdir -p real; echo inside >real/marker; while :; do rm -f p; ln -s ${secret} p; rm -f p; ln -s /v/real p; rm -f p; mkdir p; echo inside >p/marker; rm -r p; done`;
    docker('run', '-d', '--name', 'swapper', '-v', 'raced:/v', trial.image, 'sh', '-c', swap);
    const seen = new Set<string>();
    for (let i = 0; i < 12; i++) {
      const { stdout } = trial.engine.docker([
        'run',
        '--rm',
        '--mount',
        'type=volume,source=raced,target=/p,volume-subpath=p',
        trial.image,
        'sh',
        '-c',
        'cat /p/marker',
      ]);
      seen.add(stdout.trim());
    }
    docker('rm', '-f', 'swapper');
    expect([...seen].filter((text) => text !== '' && text !== 'inside')).toEqual([]);
    docker('volume', 'rm', 'raced');
  });

  it('come into a container that runs and go again, and are there at its next start', async () => {
    const tree = join(scratch, 'live');
    mkdirSync(tree);
    writeFileSync(join(tree, 'file'), 'of the host');
    docker('volume', 'create', 'late');
    writeFileSync(join(mountpoint('late'), 'file'), 'of a volume');
    docker('run', '-d', '--name', 'user', '--tmpfs', '/taken', trial.image, 'sleep', '1000');
    const refused = (mount: string): string => trial.engine.gantry(['mount', 'add', 'user', mount]).stderr;
    gantry('mount', 'add', 'user', `type=bind,source=${tree},target=/new/bound,readonly`);
    gantry('mount', 'add', 'user', 'type=volume,source=late,target=/vol');
    gantry('mount', 'add', 'user', 'type=tmpfs,target=/mem,tmpfs-size=1m');
    gantry('mount', 'add', 'user', `type=image,source=${trial.image},target=/img,image-subpath=etc`);
    const seen = () => docker('exec', 'user', 'sh', '-c', 'cat /new/bound/file /vol/file; grep -c " /mem tmpfs" /proc/mounts; ls /img');
    expect(seen()).toMatch(/^of the hostof a volume1\n[^]*passwd/);
    expect(trial.engine.docker(['exec', 'user', 'touch', '/new/bound/x']).stderr).toContain('Read-only');
    expect(docker('inspect', '-f', '{{range .Mounts}}{{.Type}} {{.Destination}} {{.RW}};{{end}}', 'user')).toBe(
      'bind /new/bound false;volume /vol true;tmpfs /mem true;image /img false;',
    );

    expect(refused('type=volume,source=late,target=/vol')).toContain('Duplicate mount point');
    expect(refused('type=volume,source=late,target=/taken')).toContain('Duplicate mount point');
    expect(refused(`type=bind,source=${tree}/none,target=/x`)).toContain('bind source path does not exist');
    expect(refused(`type=bind,source=${tree},target=/proc/sys`)).toContain('inside /proc');
    expect(refused('type=volume,source=fresh,target=/etc/passwd/x')).not.toBe('');
    expect(docker('volume', 'ls', '-q', '--filter', 'dangling=true')).toBe('fresh');
    docker('volume', 'rm', 'fresh');
    expect(trial.engine.docker(['volume', 'rm', 'late']).stderr).toContain('volume is in use');

    await trial.engine.down('SIGKILL');
    await trial.engine.up();
    expect(seen()).toContain('of a volume');
    docker('restart', '-t', '0', 'user');
    expect(seen()).toContain('of a volume');

    for (const target of ['/new/bound', '/vol', '/mem', '/img/']) gantry('mount', 'rm', 'user', target);
    const gone = 'ls /new/bound /vol /mem /img; grep -cE " (/vol|/new/bound|/mem|/img) " /proc/mounts || true';
    expect(docker('exec', 'user', 'sh', '-c', gone)).toMatch(/0$/);
    expect(trial.engine.gantry(['mount', 'rm', 'user', '/vol']).stderr).toContain('no such mount');
    docker('volume', 'rm', 'late');
    docker('restart', '-t', '0', 'user');
    expect(docker('inspect', '-f', '{{len .Mounts}}', 'user')).toBe('0');
    docker('rm', '-f', 'user');
  });

  it('go to no other place when their target is a link that the container swaps', () => {
    const marked = join(scratch, 'marked');
    mkdirSync(marked);
    const before = readFileSync('/proc/self/mountinfo', 'utf8').split('\n').length;
    docker(
      'run',
      '-d',
      '--name',
      'swapper',
      trial.image,
      'sh',
      '-c',
      'while :; do rm -rf /p; ln -s /etc /p; rm -f /p; ln -s / /p; rm -f /p; mkdir /p; done',
    );
    for (let i = 0; i < 8; i++) {
      trial.engine.gantry(['mount', 'add', 'swapper', `type=bind,source=${marked},target=/p/q`]);
      trial.engine.gantry(['mount', 'rm', 'swapper', '/p/q']);
    }
    expect(existsSync('/etc/q') || existsSync('/q')).toBe(false);
    docker('rm', '-f', 'swapper');
    expect(Math.abs(readFileSync('/proc/self/mountinfo', 'utf8').split('\n').length - before)).toBeLessThan(40);
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(marked);
  });

  for (const point of ['container.mount.1', 'container.mount.2', 'container.unmount.1', 'container.unmount.2']) {
    it(`are in a container and its record, or in neither, after a daemon's death at ${point}`, async () => {
      const { engine } = trial;
      docker('volume', 'create', 'moving');
      docker('run', '-d', '--name', 'user', trial.image, 'sleep', '1000');
      if (point.startsWith('container.unmount')) gantry('mount', 'add', 'user', 'type=volume,source=moving,target=/vol');
      await engine.down();
      await engine.up({ GANTRY_FAILPOINT: point });
      if (point.startsWith('container.unmount')) engine.gantry(['mount', 'rm', 'user', '/vol']);
      else engine.gantry(['mount', 'add', 'user', 'type=volume,source=moving,target=/vol']);
      await engine.down('SIGKILL');
      await engine.up();
      expect(docker('inspect', '-f', '{{len .Mounts}}', 'user')).toBe('0');
      expect(docker('exec', 'user', 'sh', '-c', 'grep -c " /vol " /proc/mounts || true')).toBe('0');
      docker('volume', 'rm', 'moving');
      docker('rm', '-f', 'user');
    });
  }

  for (const point of ['volume.fill.1', 'volume.fill.2', 'volume.clone', 'volume.rename.1', 'volume.rename.2', 'volume.import.1']) {
    it(`are whole or absent after a daemon's death at ${point}`, async () => {
      const { engine } = trial;
      docker('volume', 'create', 'base');
      writeFileSync(join(mountpoint('base'), 'content'), 'x');
      gantry('volume', 'export', '-o', join(scratch, 'base.tar'), 'base');
      docker('volume', 'create', 'into');
      docker('create', '--name', 'copier', '-v', 'filled:/etc', trial.image, 'ls', '/etc');
      await engine.down();
      await engine.up({ GANTRY_FAILPOINT: point === 'volume.clone' ? 'volume.create.2' : point });
      const killed: Record<string, () => unknown> = {
        'volume.fill.1': () => engine.docker(['start', 'copier']),
        'volume.fill.2': () => engine.docker(['start', 'copier']),
        'volume.clone': () => engine.gantry(['volume', 'clone', 'base', 'other']),
        'volume.rename.1': () => engine.gantry(['volume', 'rename', 'base', 'other']),
        'volume.rename.2': () => engine.gantry(['volume', 'rename', 'base', 'other']),
        'volume.import.1': () => engine.gantry(['volume', 'import', 'into', join(scratch, 'base.tar')]),
      };
      killed[point]?.();
      await engine.down('SIGKILL');
      await engine.up();

      const names = docker('volume', 'ls', '-q').split('\n');
      expect(names).toEqual(point === 'volume.rename.2' ? ['filled', 'into', 'other'] : ['base', 'filled', 'into']);
      expect(existsSync(join(mountpoint(names.includes('base') ? 'base' : 'other'), 'content'))).toBe(true);
      // Half of what the image has is no content.
      expect(docker('start', '-a', 'copier')).toContain('passwd');
      gantry('volume', 'import', 'into', join(scratch, 'base.tar'));
      docker('rm', 'copier');
      docker('volume', 'rm', ...names);
    });
  }
});
