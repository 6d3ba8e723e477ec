import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { whyNoEngine } from './engine.js';
import { openTrial, type Trial } from './trial.js';

const reason = whyNoEngine();

describe.skipIf(reason)(`the stock docker CLI${reason ? ` (skipped: ${reason})` : ''}`, () => {
  let trial: Trial;
  let scratch: string;
  const docker = (...args: string[]) => trial.engine.docker(args);
  /** Runs what must succeed and gives back what it printed. */
  const ok = (...args: string[]): string => {
    const result = docker(...args);
    expect(result, `docker ${args.join(' ')}\n${trial.engine.log.slice(-1500)}`).toMatchObject({ code: 0 });
    return result.stdout.trim();
  };

  beforeAll(async () => {
    trial = await openTrial();
    scratch = mkdtempSync('/tmp/gantry-cli-test-');
  });
  afterAll(async () => {
    if (!trial) return;
    rmSync(scratch, { recursive: true, force: true });
    expect(await trial.close()).toEqual({});
  });

  describe('system', () => {
    it('negotiates a version', () => {
      expect(ok('version', '--format', '{{.Server.APIVersion}}')).toBe('1.51');
      expect(ok('version', '--format', '{{.Server.MinAPIVersion}}')).toBe('1.24');
    });
    it('tells of itself', () => {
      const info = JSON.parse(ok('info', '--format', '{{json .}}')) as Record<string, unknown>;
      expect(info['Driver']).toBe('overlay2');
      expect(info['DefaultRuntime']).toBe('native');
      expect(Object.keys(info['Runtimes'] as object)).toEqual(expect.arrayContaining(['native', 'runc']));
    });
    it('counts disk use', () => {
      expect(ok('system', 'df')).toMatch(/Images\s+1/);
    });
  });

  describe('run', () => {
    it('prints what the program prints, apart by stream', () => {
      const result = docker('run', '--rm', trial.image, 'sh', '-c', 'echo out; echo err >&2');
      expect(result).toEqual({ code: 0, stdout: 'out\n', stderr: 'err\n' });
    });
    it('ends with the exit code of the program', () => {
      expect(docker('run', '--rm', trial.image, 'sh', '-c', 'exit 42').code).toBe(42);
      expect(docker('run', '--rm', trial.image, 'sh', '-c', 'sh -c "kill -9 \\$\\$"; exit $?').code).toBe(137);
    });
    it('hands standard input over and ends with it', () => {
      const result = trial.engine.docker(['run', '--rm', '-i', trial.image, 'wc', '-c'], { input: 'x'.repeat(100_000) });
      expect(result.stdout.trim()).toBe('100000');
    });
    it('loses nothing of a large output', () => {
      const result = docker('run', '--rm', trial.image, 'sh', '-c', 'head -c 20000000 /dev/zero | tr "\\0" x');
      expect(result.stdout.length).toBe(20_000_000);
    });
    it('sets environment, user, folder, host name and labels', () => {
      expect(ok('run', '--rm', '-e', 'A=1', '-e', 'B=two words', trial.image, 'sh', '-c', 'echo $A $B')).toBe('1 two words');
      expect(ok('run', '--rm', '-u', 'www-data', trial.image, 'id')).toBe('uid=33(www-data) gid=33(www-data) groups=33(www-data)');
      expect(ok('run', '--rm', '-u', '1000:50', trial.image, 'id', '-g')).toBe('50');
      expect(ok('run', '--rm', '-w', '/made/for/this', trial.image, 'pwd')).toBe('/made/for/this');
      expect(ok('run', '--rm', '-h', 'a-host', trial.image, 'hostname')).toBe('a-host');
      const id = ok('create', '--label', 'k=v', trial.image);
      expect(ok('inspect', '-f', '{{.Config.Labels.k}}', id)).toBe('v');
      ok('rm', id);
    });
    it('overrides the entrypoint', () => {
      expect(ok('run', '--rm', '--entrypoint', 'echo', trial.image, 'from', 'echo')).toBe('from echo');
    });
    it('limits memory, processors and processes', () => {
      const id = ok('run', '-d', '--memory', '64m', '--cpus', '0.5', '--pids-limit', '50', trial.image, 'sleep', '100');
      const config = JSON.parse(ok('inspect', '-f', '{{json .HostConfig}}', id)) as Record<string, unknown>;
      expect(config).toMatchObject({ Memory: 64 << 20, NanoCpus: 500_000_000, PidsLimit: 50 });
      const seen = ok(
        'exec',
        id,
        'sh',
        '-c',
        'cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null; true',
      );
      expect(seen).toBe(String(64 << 20));
      ok('rm', '-f', id);
    });
    it('tells of a kill by the kernel for want of memory', () => {
      const id = ok('run', '-d', '--memory', '8m', '--memory-swap', '8m', trial.image, 'sh', '-c', 'head -c 100000000 /dev/zero | tail');
      expect(ok('wait', id)).toMatch(/^(137|1)$/);
      ok('rm', id);
    });
    it('mounts binds, volumes and tmpfs', () => {
      writeFileSync(join(scratch, 'file'), 'from the host\n');
      expect(ok('run', '--rm', '-v', `${scratch}:/host:ro`, trial.image, 'cat', '/host/file')).toBe('from the host');
      expect(docker('run', '--rm', '-v', `${scratch}:/host:ro`, trial.image, 'touch', '/host/new').code).toBe(1);
      ok('run', '--rm', '-v', 'one:/data', trial.image, 'sh', '-c', 'echo kept > /data/f');
      expect(ok('run', '--rm', '--mount', 'type=volume,source=one,target=/data', trial.image, 'cat', '/data/f')).toBe('kept');
      expect(ok('run', '--rm', '--tmpfs', '/t:size=1m', trial.image, 'sh', '-c', 'mount | grep " /t "')).toContain('tmpfs');
      ok('volume', 'rm', 'one');
    });
    it('fills a new volume from the image', () => {
      expect(ok('run', '--rm', '-v', 'filled:/var/www', trial.image, 'cat', '/var/www/index.html')).toBe('served by gantry');
      ok('volume', 'rm', 'filled');
    });
    it('keeps a read-only root', () => {
      const result = docker('run', '--rm', '--read-only', trial.image, 'touch', '/x');
      expect(result.code).toBe(1);
      expect(result.stderr).toContain('Read-only file system');
    });
    it('adds and drops capabilities, and gives all to a privileged one', () => {
      const effective = (...flags: string[]) =>
        BigInt(`0x${ok('run', '--rm', ...flags, trial.image, 'sh', '-c', 'grep CapEff /proc/self/status').split(/\s+/)[1]}`);
      expect(effective()).toBe(0xa80425fbn);
      expect(effective('--cap-drop', 'ALL')).toBe(0n);
      expect(effective('--cap-drop', 'ALL', '--cap-add', 'NET_ADMIN')).toBe(1n << 12n);
      expect(effective('--privileged') & (1n << 21n)).toBe(1n << 21n);
    });
    it('filters system calls by default', () => {
      expect(ok('run', '--rm', trial.image, 'sh', '-c', 'grep Seccomp: /proc/self/status')).toMatch(/2$/);
      expect(ok('run', '--rm', '--security-opt', 'seccomp=unconfined', trial.image, 'sh', '-c', 'grep Seccomp: /proc/self/status')).toMatch(
        /0$/,
      );
    });
    it('runs an init that reaps', () => {
      expect(ok('run', '--rm', '--init', trial.image, 'sh', '-c', 'cat /proc/1/comm')).toMatch(/init/);
    });
    it('takes the storage driver and the runtime of one container', () => {
      const vfs = ok('create', '--storage-opt', 'driver=vfs', trial.image, 'cat', '/etc/passwd');
      expect(ok('inspect', '-f', '{{.GraphDriver.Name}}', vfs)).toBe('vfs');
      expect(ok('start', '-a', vfs)).toContain('root:x:0:0');
      ok('rm', vfs);
      expect(ok('run', '--rm', '--runtime', 'runc', trial.image, 'echo', 'by runc')).toBe('by runc');
    });
  });

  describe('a container in the background', () => {
    let id: string;
    beforeAll(() => {
      id = ok(
        'run',
        '-d',
        '--name',
        'back',
        '--label',
        'group=back',
        '-p',
        '127.0.0.1::80',
        trial.image,
        'sh',
        '-c',
        'echo started; exec httpd -f -p 80 -h /var/www',
      );
    });
    afterAll(() => {
      docker('rm', '-f', 'back');
    });

    it('shows in ps', () => {
      expect(ok('ps', '--format', '{{.Names}} {{.State}}', '--filter', 'label=group=back')).toBe('back running');
      expect(ok('ps', '-q', '--no-trunc')).toBe(id);
    });
    it('has its port published on localhost', async () => {
      const [, port] = /127\.0\.0\.1:(\d+)/.exec(ok('port', 'back', '80')) ?? [];
      expect(await fetch(`http://127.0.0.1:${port}/`).then((answer) => answer.text())).toBe('served by gantry\n');
    });
    it('gives its log', () => {
      expect(ok('logs', 'back')).toBe('started');
      expect(ok('logs', '--timestamps', 'back')).toMatch(/^\d{4}-\d\d-\d\dT\S+Z started$/);
    });
    it('runs more processes in it', () => {
      expect(ok('exec', 'back', 'sh', '-c', 'echo in $HOSTNAME')).toBe(`in ${id.slice(0, 12)}`);
      expect(docker('exec', 'back', 'sh', '-c', 'exit 7').code).toBe(7);
      expect(trial.engine.docker(['exec', '-i', 'back', 'cat'], { input: 'abc' }).stdout).toBe('abc');
      expect(docker('exec', 'back', 'no-such-program').code).toBe(127);
    });
    it('lists its processes and what they use', () => {
      expect(ok('top', 'back')).toContain('httpd');
      expect(ok('stats', '--no-stream', '--format', '{{.Name}} {{.PIDs}}', 'back')).toMatch(/^back [1-9]/);
    });
    it('copies both ways', () => {
      mkdirSync(join(scratch, 'tree/sub'), { recursive: true });
      writeFileSync(join(scratch, 'tree/sub/a'), 'content');
      ok('cp', join(scratch, 'tree'), 'back:/copied');
      expect(ok('exec', 'back', 'cat', '/copied/sub/a')).toBe('content');
      ok('cp', 'back:/copied/sub/a', join(scratch, 'returned'));
      expect(readFileSync(join(scratch, 'returned'), 'utf8')).toBe('content');
    });
    it('shows what changed', () => {
      ok('exec', 'back', 'sh', '-c', 'echo x > /new-file; rm /etc/group');
      expect(ok('diff', 'back').split('\n')).toEqual(expect.arrayContaining(['A /new-file', 'D /etc/group', 'C /etc']));
    });
    it('pauses and goes on', () => {
      ok('pause', 'back');
      expect(ok('inspect', '-f', '{{.State.Status}} {{.State.Paused}}', 'back')).toBe('paused true');
      ok('unpause', 'back');
      expect(ok('inspect', '-f', '{{.State.Status}}', 'back')).toBe('running');
    });
    it('takes new limits', () => {
      ok('update', '--memory', '128m', '--memory-swap', '256m', '--restart', 'on-failure:2', 'back');
      expect(ok('inspect', '-f', '{{.HostConfig.Memory}} {{.HostConfig.RestartPolicy.Name}}', 'back')).toBe(`${128 << 20} on-failure`);
    });
    it('is renamed', () => {
      ok('rename', 'back', 'renamed');
      expect(ok('inspect', '-f', '{{.Name}}', id)).toBe('/renamed');
      ok('rename', 'renamed', 'back');
    });
    it('restarts with the same address and port', () => {
      const before = ok('inspect', '-f', '{{.State.Pid}}', 'back');
      ok('restart', '-t', '1', 'back');
      expect(ok('inspect', '-f', '{{.State.Pid}}', 'back')).not.toBe(before);
      expect(ok('logs', 'back')).toBe('started\nstarted');
    });
    it('stops and starts', () => {
      ok('stop', '-t', '1', 'back');
      expect(ok('inspect', '-f', '{{.State.Status}} {{.State.ExitCode}}', 'back')).toMatch(/^exited (137|143)$/);
      ok('start', 'back');
      ok('kill', '-s', 'KILL', 'back');
      expect(ok('wait', 'back')).toBe('137');
    });
    it('becomes an image', () => {
      expect(ok('commit', '-c', 'CMD ["cat", "/new-file"]', 'back', 'committed:one')).toMatch(/^sha256:/);
      expect(ok('run', '--rm', 'committed:one')).toBe('x');
      expect(ok('history', 'committed:one', '--format', '{{.CreatedBy}}').split('\n').length).toBe(2);
      ok('rmi', 'committed:one');
    });
  });

  describe('networks', () => {
    it('finds containers by name, in a network of its own', () => {
      ok('network', 'create', 'friends');
      ok('run', '-d', '--name', 'server', '--network', 'friends', trial.image, 'httpd', '-f', '-p', '80', '-h', '/var/www');
      expect(ok('run', '--rm', '--network', 'friends', trial.image, 'wget', '-q', '-O', '-', 'http://server/')).toBe('served by gantry');
      expect(docker('run', '--rm', trial.image, 'wget', '-q', '-T', '2', '-O', '-', 'http://server/').code).not.toBe(0);
      expect(docker('network', 'rm', 'friends').stderr).toContain('has active endpoints');
      ok('rm', '-f', 'server');
      ok('network', 'rm', 'friends');
    });
    it('connects and disconnects while it runs', () => {
      ok('network', 'create', 'second');
      ok('run', '-d', '--name', 'moving', trial.image, 'sleep', '100');
      ok('network', 'connect', '--alias', 'other', 'second', 'moving');
      expect(ok('exec', 'moving', 'ls', '/sys/class/net').split('\n')).toEqual(['eth0', 'eth1', 'lo']);
      ok('network', 'disconnect', 'second', 'moving');
      expect(ok('exec', 'moving', 'ls', '/sys/class/net').split('\n')).toEqual(['eth0', 'lo']);
      ok('rm', '-f', 'moving');
      expect(ok('network', 'prune', '-f')).toContain('second');
    });
    it('has host and none', () => {
      expect(ok('run', '--rm', '--network', 'none', trial.image, 'ls', '/sys/class/net')).toBe('lo');
      expect(ok('run', '--rm', '--network', 'host', trial.image, 'ls', '/sys/class/net')).toContain('eth0');
      expect(ok('network', 'ls', '--format', '{{.Name}}').split('\n')).toEqual(['bridge', 'host', 'none']);
    });
    it('shares one with another container', () => {
      ok('run', '-d', '--name', 'owner', trial.image, 'sleep', '100');
      const mine = ok(
        'run',
        '--rm',
        '--network',
        'container:owner',
        trial.image,
        'sh',
        '-c',
        'ip -o -4 addr show eth0 | awk "{print \\$4}"',
      );
      expect(mine).toContain(ok('inspect', '-f', '{{.NetworkSettings.IPAddress}}', 'owner'));
      ok('rm', '-f', 'owner');
    });
  });

  describe('images', () => {
    it('tags, lists and untags', () => {
      ok('tag', trial.image, 'mine:v1');
      expect(ok('images', '--format', '{{.Repository}}:{{.Tag}}', 'mine')).toBe('mine:v1');
      expect(ok('rmi', 'mine:v1')).toBe('Untagged: mine:v1');
    });
    it('pushes what it pulled, byte for byte', async () => {
      const copy = `${trial.registry.address}/copy/busybox:pushed`;
      ok('tag', trial.image, copy);
      expect(ok('push', copy)).toMatch(/pushed: digest: sha256:[0-9a-f]{64} size: \d+/);
      const digest = (name: string) =>
        fetch(`http://${trial.registry.address}/v2/${name}`, {
          headers: { accept: 'application/vnd.docker.distribution.manifest.v2+json' },
        }).then((answer) => answer.headers.get('docker-content-digest'));
      expect(await digest('copy/busybox/manifests/pushed')).toBe(await digest('trial/busybox/manifests/latest'));
      ok('rmi', copy);
    });
    it('saves and loads', () => {
      const archive = join(scratch, 'saved.tar');
      ok('tag', trial.image, 'saved:1');
      ok('save', '-o', archive, 'saved:1');
      const id = ok('inspect', '-f', '{{.Id}}', 'saved:1');
      ok('rmi', 'saved:1');
      expect(ok('load', '-i', archive)).toBe('Loaded image: saved:1');
      expect(ok('inspect', '-f', '{{.Id}}', 'saved:1')).toBe(id);
      ok('rmi', 'saved:1');
    });
    it('imports an exported container', () => {
      const archive = join(scratch, 'exported.tar');
      ok('create', '--name', 'exporting', trial.image);
      ok('export', '-o', archive, 'exporting');
      ok('rm', 'exporting');
      expect(ok('import', '-c', 'CMD ["echo", "imported"]', archive, 'imported:1')).toMatch(/^sha256:/);
      expect(ok('run', '--rm', 'imported:1')).toBe('imported');
      ok('rmi', 'imported:1');
    });
    it('removes and pulls again', () => {
      expect(docker('rmi', trial.image).code).toBe(0);
      expect(ok('pull', trial.image)).toContain('Status: Downloaded newer image');
      expect(ok('pull', trial.image)).toContain('Status: Image is up to date');
    });
  });

  describe('volumes', () => {
    it('are made, listed, shown and removed', () => {
      expect(ok('volume', 'create', '--label', 'a=b', 'vol')).toBe('vol');
      expect(ok('volume', 'ls', '-q', '--filter', 'label=a=b')).toBe('vol');
      expect(ok('volume', 'inspect', '-f', '{{.Driver}} {{.Scope}}', 'vol')).toBe('local local');
      ok('volume', 'rm', 'vol');
    });
    it('go with their container when they have no name', () => {
      const id = ok('run', '-d', '-v', '/anonymous', trial.image, 'true');
      ok('wait', id);
      expect(
        ok('volume', 'ls', '-q')
          .split('\n')
          .filter((name) => name !== '').length,
      ).toBe(1);
      ok('rm', '-v', id);
      expect(ok('volume', 'ls', '-q')).toBe('');
    });
  });

  it('tells events in their order', () => {
    const since = Math.floor(Date.now() / 1000);
    ok('run', '--rm', '--name', 'eventful', trial.image, 'true');
    const events = ok(
      'events',
      '--since',
      String(since),
      '--until',
      String(Math.floor(Date.now() / 1000) + 1),
      '--filter',
      'container=eventful',
      '--format',
      '{{.Action}}',
    );
    expect(events.split('\n')).toEqual(expect.arrayContaining(['create', 'attach', 'start', 'die', 'destroy']));
    const order = events.split('\n');
    expect(order.indexOf('start')).toBeLessThan(order.indexOf('die'));
    expect(order.indexOf('die')).toBeLessThan(order.indexOf('destroy'));
  });
});
