import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
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
    expect(result, `${program} ${args.join(' ')}\n${trial.engine.log.slice(-1500)}`).toMatchObject({ code: 0 });
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
    expect(trial.engine.gantry(['volume', 'import', 'broken', join(scratch, 'bad.tar')]).code).toBe(1);
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
