import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { whyNoEngine } from './engine.js';
import { openTrial, type Trial } from './trial.js';

const reason = whyNoEngine();

/** What dockerd answers beside the main path, compared with one command by command. */
describe.skipIf(reason)(`details that clients of dockerd know${reason ? ` (skipped: ${reason})` : ''}`, () => {
  let trial: Trial;
  let scratch: string;
  const docker = (...args: string[]) => trial.engine.docker(args);
  const ok = (...args: string[]): string => {
    const result = docker(...args);
    expect(result, `docker ${args.join(' ')}\n${trial.engine.log.slice(-1500)}`).toMatchObject({ code: 0 });
    return result.stdout.trim();
  };

  beforeAll(async () => {
    trial = await openTrial();
    scratch = mkdtempSync('/tmp/gantry-details-');
  });
  afterAll(async () => {
    if (!trial) return;
    rmSync(scratch, { recursive: true, force: true });
    expect(await trial.close()).toEqual({});
  });

  it('takes a link away from a container, running or not', () => {
    ok('network', 'create', 'linked');
    ok('run', '-d', '--name', 'db', trial.image, 'sleep', '1000');
    ok('run', '-d', '--name', 'db2', '--network', 'linked', trial.image, 'sleep', '1000');
    ok('run', '-d', '--name', 'web', '--link', 'db:store', '--link', 'db:other', trial.image, 'sleep', '1000');
    ok('run', '-d', '--name', 'web2', '--network', 'linked', '--link', 'db2:store', trial.image, 'sleep', '1000');
    const links = (name: string): unknown => JSON.parse(ok('inspect', '-f', '{{json .HostConfig.Links}}', name));
    expect(ok('exec', 'web', 'cat', '/etc/hosts')).toMatch(/\sstore .*db/);
    ok('exec', 'web2', 'nslookup', 'store');

    ok('rm', '--link', 'web/store');
    ok('rm', '--link', '/web2/store');
    expect(links('web')).toEqual(['/db:/web/other']);
    const hosts = ok('exec', 'web', 'cat', '/etc/hosts');
    expect(hosts).not.toContain('store');
    expect(hosts).toMatch(/\sother .*db/);
    expect(docker('exec', 'web2', 'nslookup', 'store').code).not.toBe(0);
    expect(docker('rm', '--link', 'web/store')).toMatchObject({ code: 1, stderr: expect.stringContaining('for link /web/store') });

    ok('stop', '-t', '0', 'web');
    ok('rm', '--link', 'web/other');
    expect(links('web')).toBeNull();
    ok('start', 'web');
    expect(ok('exec', 'web', 'cat', '/etc/hosts')).not.toContain('other');
    ok('rm', '-f', 'web', 'web2', 'db', 'db2');
    ok('network', 'rm', 'linked');
  });

  it('tells of the end before the networks and volumes are left', () => {
    const since = String(Date.now() / 1000);
    ok('run', '--rm', '-v', 'told:/x:ro', trial.image, 'true');
    const until = String(Date.now() / 1000 + 0.1);
    const events = ok('events', '--since', since, '--until', until, '--format', '{{.Type}} {{.Action}}').split('\n');
    const place = (event: string): number => events.indexOf(event);
    expect(place('container die')).toBeGreaterThan(place('container start'));
    expect(place('network disconnect')).toBeGreaterThan(place('container die'));
    expect(place('volume unmount')).toBeGreaterThan(place('container die'));
    expect(events.at(-1)).toBe('container destroy');
    const mounts = ok('events', '--since', since, '--until', until, '--filter', 'event=mount', '--format', '{{json .Actor.Attributes}}');
    expect(JSON.parse(mounts)).toMatchObject({ destination: '/x', 'read/write': 'false', driver: 'local', propagation: '' });
    ok('volume', 'rm', 'told');
  });

  it('counts the places that mounts were made on as changes, and nothing else of its own', () => {
    ok('run', '--name', 'plain', trial.image, 'true');
    expect(ok('diff', 'plain')).toBe('');
    ok('run', '--name', 'placed', '--tmpfs', '/t', '-v', '/deep/er', trial.image, 'true');
    expect(ok('diff', 'placed').split('\n').toSorted()).toEqual(['A /deep', 'A /deep/er', 'A /t']);
    ok('rm', '-v', 'plain', 'placed');
  });

  it('lets every user into a new volume whose place the image does not have', () => {
    expect(ok('run', '--rm', '-v', '/fresh', '-u', '33', trial.image, 'stat', '-c', '%a', '/fresh/.')).toBe('755');
  });

  it('removes an anonymous volume with the last container that it was handed to', () => {
    ok('run', '--name', 'giver', '-v', '/anonymous', trial.image, 'true');
    const volume = ok('inspect', '-f', '{{(index .Mounts 0).Name}}', 'giver');
    ok('create', '--name', 'taker', '--volumes-from', 'giver', trial.image);
    expect(ok('inspect', '-f', '{{range .Mounts}}{{.Name}}|{{.Mode}}|{{end}}', 'taker')).toBe(`${volume}||`);
    ok('rm', '-v', 'giver');
    expect(ok('volume', 'ls', '-q')).toContain(volume);
    ok('rm', '-v', 'taker');
    expect(ok('volume', 'ls', '-q')).not.toContain(volume);
  });

  it('does not take an image of another platform for the one that was asked for', () => {
    const other = process.arch === 'arm64' ? 'linux/amd64' : 'linux/arm64';
    const { code, stderr } = docker('create', '--pull', 'never', '--platform', other, trial.image);
    expect(code).toBe(1);
    expect(stderr).toContain(`does not match the specified platform (${other})`);
  });

  it('shares the IPC namespace of a host without message queues', () => {
    ok('run', '--rm', '--ipc', 'host', trial.image, 'true');
  });

  it('shows no network after the last one was left, and knows what is not there', () => {
    ok('network', 'create', 'left');
    ok('run', '-d', '--name', 'leaver', '--network', 'left', trial.image, 'sleep', '100');
    ok('network', 'disconnect', 'left', 'leaver');
    expect(ok('inspect', '-f', '{{json .NetworkSettings.Networks}}', 'leaver')).toBe('{}');
    expect(docker('network', 'disconnect', '-f', 'left', 'nobody').stderr).toContain('endpoint nobody not found');
    ok('rm', '-f', 'leaver');
    ok('network', 'rm', 'left');
  });

  it('copies from and to a stopped container as if it ran: volumes, links into them, name files', () => {
    ok('create', '--name', 'stopped', '-v', 'filled:/var/www', '-v', `${scratch}:/host:ro`, trial.image, 'sh', '-c', 'ln -s /var/www /web');
    writeFileSync(join(scratch, 'file'), 'from the host');
    // Filled from the image before the first start, as at it.
    expect(ok('cp', 'stopped:/var/www/index.html', '-')).toContain('served by gantry');
    ok('cp', join(scratch, 'file'), 'stopped:/var/www/early');
    ok('start', '-a', 'stopped');
    expect(ok('cp', 'stopped:/web/index.html', '-')).toContain('served by gantry');
    expect(ok('cp', 'stopped:/web/early', '-')).toContain('from the host');
    expect(ok('cp', 'stopped:/etc/hosts', '-')).toContain('localhost');
    expect(ok('cp', 'stopped:/host/file', '-')).toContain('from the host');
    ok('cp', join(scratch, 'file'), 'stopped:/web/late');
    expect(ok('run', '--rm', '-v', 'filled:/v', trial.image, 'ls', '/v').split('\n')).toEqual(['early', 'index.html', 'late']);
    expect(docker('cp', join(scratch, 'file'), 'stopped:/host/x').stderr).toContain('marked read-only');
    expect(existsSync(join(scratch, 'x'))).toBe(false);
    ok('rm', 'stopped');
    ok('volume', 'rm', 'filled');
    expect(readFileSync(join(scratch, 'file'), 'utf8')).toBe('from the host');
  });

  it('leaves what is mounted in a bind alone when it copied through it', () => {
    // A shared mount with another below it: a copy of it must not be its peer.
    const inner = join(scratch, 'inner');
    mkdirSync(inner);
    expect(spawnSync('mount', ['-t', 'tmpfs', 'tmpfs', inner]).status).toBe(0);
    try {
      writeFileSync(join(inner, 'kept'), '');
      ok('create', '--name', 'through', '-v', `${scratch}:/host`, trial.image);
      ok('cp', join(inner, 'kept'), 'through:/host/inner/copied');
      expect(existsSync(join(inner, 'kept')) && existsSync(join(inner, 'copied'))).toBe(true);
      ok('rm', 'through');
    } finally {
      spawnSync('umount', [inner]);
    }
  });

  it('mounts a part of a volume, and nothing outside it', () => {
    ok(
      'run',
      '--rm',
      '-v',
      'whole:/v',
      trial.image,
      'sh',
      '-c',
      'mkdir -p /v/a/b; echo part > /v/a/b/file; ln -s /etc /v/out; ln -s a/b /v/in',
    );
    const mount = (subpath: string): string => `type=volume,src=whole,dst=/p,volume-subpath=${subpath}`;
    expect(ok('run', '--rm', '--mount', mount('a/b'), trial.image, 'cat', '/p/file')).toBe('part');
    expect(ok('run', '--rm', '--mount', mount('a/b/file'), trial.image, 'cat', '/p')).toBe('part');
    expect(ok('run', '--rm', '--mount', mount('in'), trial.image, 'cat', '/p/file')).toBe('part');
    expect(docker('run', '--rm', '--mount', mount('out'), trial.image, 'true').stderr).toContain('cannot access path');
    expect(docker('run', '--rm', '--mount', mount('nothing'), trial.image, 'true').stderr).toContain('cannot access path');
    expect(docker('run', '--rm', '--mount', mount('../x'), trial.image, 'true').stderr).toContain('subpath must be a relative path');
    ok('create', '--name', 'parted', '--mount', mount('a'), trial.image);
    expect(ok('cp', 'parted:/p/b/file', '-')).toContain('part');
    ok('rm', 'parted');
    ok('volume', 'rm', 'whole');
  });

  it('shows where the root file system really is', () => {
    ok('run', '-d', '--name', 'shown', trial.image, 'sleep', '100');
    const merged = ok('inspect', '-f', '{{.GraphDriver.Data.MergedDir}}', 'shown');
    expect(existsSync(join(merged, 'var/www/index.html'))).toBe(true);
    ok('rm', '-f', 'shown');
  });

  it('knows what it is made of', () => {
    const server = JSON.parse(ok('version', '--format', '{{json .Server}}')) as {
      Components: { Name: string; Version: string }[];
      BuildTime?: string;
      GitCommit: string;
    };
    expect(server.Components.map(({ Name }) => Name)).toEqual([
      'Engine',
      'gantry-shim',
      'gantry-runtime',
      'gantry-init',
      'gantry-dns',
      'gantry-proxy',
    ]);
    // A build without git knows neither.
    expect(server.GitCommit === '' || Number.isFinite(Date.parse(server.BuildTime ?? ''))).toBe(true);
    expect(ok('info', '--format', '{{.InitCommit.ID}}')).toMatch(/^gantry-init \d/);
  });

  it('does not start with defaults that no container could use, and says which', () => {
    const gantryd = fileURLToPath(new URL('../../cli/bin/gantryd', import.meta.url));
    const start = (config: object): string => {
      const file = join(scratch, 'daemon.json');
      writeFileSync(file, JSON.stringify({ 'data-root': join(scratch, 'd'), 'exec-root': join(scratch, 'x'), bridge: 'none', ...config }));
      const flags = ['--config-file', file, '--host', `unix://${scratch}/other.sock`, '--pidfile', join(scratch, 'pid')];
      const { status, stderr } = spawnSync(gantryd, flags, { encoding: 'utf8', timeout: 120_000 });
      expect(status, stderr).toBe(1);
      return stderr.trim().split('\n').at(-1) ?? '';
    };
    expect(start({ 'log-level': 'loud' })).toBe('gantryd: invalid logging level: loud');
    expect(start({ 'default-runtime': 'ghost' })).toBe("gantryd: specified default runtime 'ghost' does not exist");
    expect(start({ 'log-driver': 'ghost' })).toBe("gantryd: logger: no log driver named 'ghost' is registered");
    expect(start({ 'log-opts': { 'max-sise': '1' } })).toBe(
      "gantryd: unknown log opt 'max-sise' for json-file log driver; the nearest is max-size",
    );
    expect(start({ 'storage-opts': ['btrfs.min_spcae=1g'] })).toBe(
      'gantryd: unknown storage-opt "btrfs.min_spcae"; the nearest is btrfs.min_space',
    );
  });

  it('names a committed image in its event as its user did', () => {
    const since = String(Date.now() / 1000);
    ok('create', '--name', 'source', trial.image);
    ok('commit', 'source', 'kept:1');
    const until = String(Date.now() / 1000 + 0.1);
    const attributes = ok(
      'events',
      '--since',
      since,
      '--until',
      until,
      '--filter',
      'event=commit',
      '--format',
      '{{json .Actor.Attributes}}',
    );
    expect(JSON.parse(attributes)).toMatchObject({ imageRef: 'kept:1' });
    ok('rm', 'source');
    ok('rmi', 'kept:1');
  });
});
