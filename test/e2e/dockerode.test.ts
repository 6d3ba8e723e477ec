import Docker from 'dockerode';
import { PassThrough } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { whyNoEngine } from './engine.js';
import { openTrial, type Trial } from './trial.js';

const reason = whyNoEngine();

const text = async (stream: PassThrough): Promise<string> => {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
};

describe.skipIf(reason)(`dockerode${reason ? ` (skipped: ${reason})` : ''}`, () => {
  let trial: Trial;
  let docker: Docker;
  beforeAll(async () => {
    trial = await openTrial();
    docker = new Docker({ socketPath: trial.engine.socket });
  });
  afterAll(async () => {
    if (trial) expect(await trial.close()).toEqual({});
  });

  it('pulls with progress', async () => {
    const stream = await docker.pull(trial.image);
    const lines = await new Promise<{ status?: string }[]>((done, fail) =>
      docker.modem.followProgress(stream, (error, output) => (error ? fail(error) : done(output as { status?: string }[]))),
    );
    expect(lines.some((line) => line.status?.startsWith('Digest: sha256:'))).toBe(true);
  });

  it('runs a container and demultiplexes its output', async () => {
    const container = await docker.createContainer({ Image: trial.image, Cmd: ['sh', '-c', 'echo out; echo err >&2; exit 3'] });
    const stream = await container.attach({ stream: true, stdout: true, stderr: true });
    const out = new PassThrough();
    const err = new PassThrough();
    container.modem.demuxStream(stream, out, err);
    stream.on('end', () => (out.end(), err.end()));
    await container.start();
    const { StatusCode } = (await container.wait()) as { StatusCode: number };
    expect([StatusCode, await text(out), await text(err)]).toEqual([3, 'out\n', 'err\n']);
    await container.remove();
  });

  it('talks to an exec over a hijacked connection', async () => {
    const container = await docker.createContainer({ Image: trial.image, Cmd: ['sleep', '100'] });
    await container.start();
    const exec = await container.exec({ Cmd: ['cat'], AttachStdin: true, AttachStdout: true });
    const stream = await exec.start({ hijack: true, stdin: true });
    const out = new PassThrough();
    container.modem.demuxStream(stream, out, new PassThrough());
    stream.on('end', () => out.end());
    stream.write('through the exec');
    stream.end();
    expect(await text(out)).toBe('through the exec');
    expect((await exec.inspect()).ExitCode).toBe(0);
    await container.resize({ h: 24, w: 80 }).catch(() => {});
    await container.remove({ force: true });
  });

  it('lists, filters and reads events', async () => {
    const container = await docker.createContainer({ Image: trial.image, Cmd: ['true'], Labels: { by: 'dockerode' } });
    const listed = await docker.listContainers({ all: true, filters: { label: ['by=dockerode'] } });
    expect(listed.map((entry) => entry.Id)).toEqual([container.id]);
    const network = await docker.createNetwork({ Name: 'by-dockerode' });
    await network.connect({ Container: container.id });
    expect((await container.inspect()).NetworkSettings.Networks).toHaveProperty('by-dockerode');
    await network.disconnect({ Container: container.id });
    await container.remove();
    await network.remove();
    await expect(container.inspect()).rejects.toMatchObject({ statusCode: 404 });
  });

  it('copies out of a container that never ran', async () => {
    const container = await docker.createContainer({ Image: trial.image, Cmd: ['true'] });
    const archive = (await container.getArchive({ path: '/etc/passwd' })) as unknown as PassThrough;
    expect(await text(archive)).toContain('root:x:0:0');
    await container.remove();
  });
});
