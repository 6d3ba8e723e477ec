import { mkdtempSync, rmSync } from 'node:fs';
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
