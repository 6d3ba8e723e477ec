import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { whyNoEngine } from './engine.js';
import { openTrial, type Trial } from './trial.js';

const why = whyNoEngine();
if (why) console.log(`gantry against an engine: skipped: ${why}`);

describe.skipIf(why !== undefined)('gantry', () => {
  let trial: Trial;
  let folder = '';

  beforeAll(async () => {
    trial = await openTrial();
    folder = mkdtempSync('/tmp/gantry-cli-e2e-');
  });

  afterAll(async () => {
    rmSync(folder, { recursive: true, force: true });
    expect(await trial.close()).toEqual({});
  });

  const gantry = (...args: string[]): ReturnType<Trial['engine']['gantry']> => trial.engine.gantry(args);
  /** stdout of a command that must work. */
  const out = (...args: string[]): string => {
    const result = gantry(...args);
    expect(result, `gantry ${args.join(' ')}\n${result.stderr}`).toMatchObject({ code: 0 });
    return result.stdout.trim();
  };

  describe('run', () => {
    it('keeps stdout, stderr and the exit code apart', () => {
      expect(gantry('run', '--rm', trial.image, 'sh', '-c', 'echo out; echo err >&2; exit 7')).toEqual({
        code: 7,
        stdout: 'out\n',
        stderr: 'err\n',
      });
    });

    it('sends stdin and tells its end', () => {
      const result = trial.engine.gantry(['run', '--rm', '-i', trial.image, 'sh', '-c', 'cat; echo after'], { input: 'one\ntwo\n' });
      expect(result).toMatchObject({ code: 0, stdout: 'one\ntwo\nafter\n' });
    });

    it('loses no byte of a large output', () => {
      const result = gantry('run', '--rm', trial.image, 'sh', '-c', 'head -c 5000000 /dev/zero');
      expect(result.stdout).toHaveLength(5_000_000);
    });

    it.each([
      [127, ['nosuch-program']],
      [126, ['/etc']],
    ])('ends with %d when %j cannot be started, and leaves nothing with --rm', (code, command) => {
      const result = gantry('run', '--rm', '--name', 'unstartable', trial.image, ...command);
      expect(result.code).toBe(code);
      expect(result.stderr).toContain('Error response from daemon');
      expect(gantry('inspect', 'unstartable').code).toBe(1);
    });

    it('ends with 125 when the container cannot be made', () => {
      expect(gantry('run', '--network', 'nosuch', trial.image, 'true').code).toBe(125);
      expect(gantry('run', '--nosuch', trial.image)).toMatchObject({ code: 125, stdout: '' });
      expect(gantry('run', '--pull', 'never', '127.0.0.1:1/none', 'true').stderr).toMatch(/no such image/i);
      out('container', 'prune', '-f');
    });

    it('fetches an image that is not there, with its progress on stderr', () => {
      out('rmi', trial.image);
      const result = gantry('run', '--rm', trial.image, 'echo', 'hi');
      expect(result).toMatchObject({ code: 0, stdout: 'hi\n' });
      expect(result.stderr).toContain(`Unable to find image '${trial.image}' locally`);
      expect(result.stderr).toContain('Status: Downloaded newer image for');
    });

    it('writes the id to a file, once', () => {
      const file = join(folder, 'cid');
      const id = out('run', '-d', '--rm', '--cidfile', file, trial.image, 'sleep', '100');
      expect(readFileSync(file, 'utf8')).toBe(id);
      expect(gantry('run', '--cidfile', file, trial.image, 'true').code).toBe(125);
      out('rm', '-f', id);
    });

    it('takes the environment of a file for the container and not for itself', () => {
      const file = join(folder, 'env');
      writeFileSync(file, 'DOCKER_HOST=unix:///nowhere\nGANTRY_HOST=unix:///nowhere\nX=1\n');
      expect(out('run', '--rm', '--env-file', file, '-e', 'Y=2', trial.image, 'sh', '-c', 'echo $X$Y$GANTRY_HOST')).toBe(
        '12unix:///nowhere',
      );
    });

    it('chooses a storage driver for one container', () => {
      const id = out('create', '--storage-driver', 'vfs', trial.image, 'true');
      expect(out('inspect', '-f', '{{.GraphDriver.Name}}', id)).toBe('vfs');
      out('rm', id);
      const refused = gantry('run', '--rm', '--storage-driver', 'nosuch', trial.image, 'true');
      expect(refused.code).toBe(125);
      expect(refused.stderr).toContain('nosuch');
    });
  });

  it('unpacks an image for another storage driver when it pulls it', () => {
    expect(out('pull', '-q', '--storage-driver', 'vfs', trial.image)).toBe(trial.image);
    const lines = out('pull', trial.image).split('\n');
    expect(lines.at(-1)).toBe(trial.image);
    expect(lines.at(-2)).toBe(`Status: Image is up to date for ${trial.image}`);
    expect(gantry('pull', '--storage-driver', 'nosuch', trial.image)).toMatchObject({ code: 1 });
    expect(gantry('pull', `${trial.image}-absent`)).toMatchObject({ code: 1 });
  });

  describe('a running container', () => {
    const name = 'cli-live';
    beforeAll(() => {
      out(
        'run',
        '-d',
        '--name',
        name,
        '--label',
        'suite=cli',
        trial.image,
        'sh',
        '-c',
        'echo started; trap "exit 3" TERM; while :; do sleep 0.1; done',
      );
    });
    afterAll(() => void gantry('rm', '-f', name));

    it('is listed as Docker lists it', () => {
      for (const args of [
        ['ps'],
        ['ps', '-a', '--no-trunc'],
        ['ps', '-q'],
        ['ps', '--format', '{{.Names}}\t{{.Status}}'],
        ['ps', '--format', 'table {{.ID}}\t{{.Image}}'],
      ]) {
        const [ours, theirs] = [gantry(...args), trial.engine.docker(args)];
        expect({ ...ours, stdout: ageless(ours.stdout) }).toEqual({ ...theirs, stdout: ageless(theirs.stdout) });
      }
    });

    it('is inspected byte for byte as Docker shows it', () => {
      expect(out('inspect', name)).toBe(trial.engine.docker(['inspect', name]).stdout.trim());
      expect(out('inspect', '-f', '{{.State.Running}} {{json .Config.Labels}}', name)).toBe('true {"suite":"cli"}');
    });

    it('runs commands with their own streams and exit codes', () => {
      expect(gantry('exec', name, 'sh', '-c', 'echo out; echo err >&2; exit 9')).toEqual({ code: 9, stdout: 'out\n', stderr: 'err\n' });
      expect(
        trial.engine.gantry(['exec', '-i', '-e', 'A=1', '-w', '/tmp', name, 'sh', '-c', 'cat; echo $A; pwd'], { input: 'in\n' }).stdout,
      ).toBe('in\n1\n/tmp\n');
    });

    it('has logs, processes and changes', () => {
      expect(out('logs', name)).toBe('started');
      expect(out('logs', '-t', '--tail', '1', name)).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z started$/);
      expect(out('top', name)).toContain('PID');
      expect(gantry('diff', name).code).toBe(0);
    });

    it('gives and takes files and folders', () => {
      mkdirSync(join(folder, 'tree/sub'), { recursive: true });
      writeFileSync(join(folder, 'tree/sub/file'), 'content\n', { mode: 0o640 });
      out('cp', join(folder, 'tree'), `${name}:/tmp/`);
      expect(out('exec', name, 'cat', '/tmp/tree/sub/file')).toBe('content');
      out('cp', `${join(folder, 'tree')}/.`, `${name}:/tmp/flat`);
      expect(out('exec', name, 'stat', '-c', '%a', '/tmp/flat/sub/file')).toBe('640');
      out('cp', `${name}:/tmp/tree`, join(folder, 'back'));
      expect(readFileSync(join(folder, 'back/sub/file'), 'utf8')).toBe('content\n');
      out('cp', `${name}:/tmp/tree/sub/file`, join(folder, 'single'));
      expect(readFileSync(join(folder, 'single'), 'utf8')).toBe('content\n');
      expect(gantry('cp', `${name}:/nosuch`, folder)).toMatchObject({ code: 1 });
      expect(gantry('cp', join(folder, 'single'), `${name}:/nosuch/`).code).toBe(1);
    });

    it('pauses, stops, waits and starts again', () => {
      expect(out('pause', name)).toBe(name);
      expect(out('ps', '--format', '{{.State}}', '-f', `name=${name}`)).toBe('paused');
      expect(out('unpause', name)).toBe(name);
      expect(out('stop', '-t', '5', name)).toBe(name);
      expect(out('wait', name)).toBe('3');
      expect(gantry('exec', name, 'true')).toMatchObject({ code: 1 });
      expect(out('start', name)).toBe(name);
      expect(out('rename', name, `${name}2`)).toBe('');
      expect(out('rename', `${name}2`, name)).toBe('');
    });
  });

  it('makes and removes networks and volumes, and says what it cannot', () => {
    const id = out('network', 'create', '--label', 'a=b', 'cli-net');
    expect(out('network', 'inspect', '-f', '{{.Name}} {{.Driver}}', id)).toBe('cli-net bridge');
    expect(gantry('network', 'create', 'cli-net').stderr).toContain('already exists');
    expect(out('network', 'ls', '-q', '--no-trunc', '-f', 'name=cli-net')).toBe(id);
    expect(out('network', 'rm', 'cli-net')).toBe('cli-net');
    expect(out('volume', 'create', 'cli-vol')).toBe('cli-vol');
    expect(out('run', '--rm', '-v', 'cli-vol:/v', trial.image, 'sh', '-c', 'echo kept >/v/f; cat /v/f')).toBe('kept');
    expect(out('volume', 'ls', '-q')).toContain('cli-vol');
    expect(out('volume', 'rm', 'cli-vol')).toBe('cli-vol');
    expect(gantry('volume', 'rm', 'cli-vol')).toMatchObject({ code: 1, stdout: '' });
  });

  it('tags, saves, loads and removes images', () => {
    const file = join(folder, 'image.tar');
    out('tag', trial.image, 'cli/copy:1');
    out('save', '-o', file, 'cli/copy:1');
    expect(out('rmi', 'cli/copy:1')).toContain('Untagged: ');
    expect(out('load', '-i', file)).toContain('Loaded image: ');
    expect(out('images', '--format', '{{.Repository}}:{{.Tag}}')).toContain('cli/copy:1');
    expect(out('history', '-q', 'cli/copy:1').split('\n')[0]).toMatch(/^[0-9a-f]{12}$/);
    out('rmi', 'cli/copy:1');
    expect(gantry('rmi', 'cli/copy:1')).toMatchObject({ code: 1 });
  });

  it('shows images, networks, versions and disk use as Docker does', () => {
    for (const args of [
      ['images'],
      ['images', '--digests'],
      ['network', 'ls'],
      ['volume', 'ls'],
      ['system', 'df'],
      ['history', trial.image],
      ['image', 'inspect', trial.image],
    ]) {
      const [ours, theirs] = [gantry(...args), trial.engine.docker(args)];
      expect({ ...ours, stdout: ageless(ours.stdout) }, args.join(' ')).toEqual({ ...theirs, stdout: ageless(theirs.stdout) });
    }
    expect(out('version', '-f', '{{.Server.Version}}')).toBe(trial.engine.docker(['version', '-f', '{{.Server.Version}}']).stdout.trim());
    expect(out('info', '-f', '{{.Driver}}')).not.toBe('');
  });

  it('says that nobody answers, and starts no engine where one was named', () => {
    const result = trial.engine.gantry(['-H', `unix://${folder}/absent.sock`, 'ps']);
    expect(result.code).toBe(1);
    expect(result.stderr).toContain(`Cannot connect to the Docker daemon at unix://${folder}/absent.sock`);
  });
});

/** Words that may change between two commands, such as "2 seconds ago". */
const ageless = (text: string): string =>
  text.replaceAll(/(About an? \w+|Less than a second|\d+ (second|minute)s?)/g, 'T').replaceAll(/ +/g, ' ');
