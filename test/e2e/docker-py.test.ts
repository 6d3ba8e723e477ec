import { spawnSync } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { whyNoEngine } from './engine.js';
import { openTrial, type Trial } from './trial.js';

const python = '/usr/bin/python3';
const reason = whyNoEngine() ?? (spawnSync(python, ['-c', 'import docker']).status === 0 ? undefined : 'python3-docker is not installed');

const script = String.raw`
import docker, io, sys, tarfile
image = sys.argv[1]
c = docker.from_env()
assert c.ping()
assert c.version()['ApiVersion'] == '1.51', c.version()
assert c.images.pull(image).id.startswith('sha256:')
assert c.containers.run(image, ['echo', 'hello'], remove=True) == b'hello\n'
try:
    c.containers.run(image, ['sh', '-c', 'echo bad >&2; exit 5'], remove=True)
    raise SystemExit('no ContainerError')
except docker.errors.ContainerError as e:
    assert e.exit_status == 5 and b'bad' in e.stderr, e
try:
    c.images.get('no-such-image')
    raise SystemExit('no ImageNotFound')
except docker.errors.ImageNotFound:
    pass
try:
    c.containers.get('no-such-container')
    raise SystemExit('no NotFound')
except docker.errors.NotFound:
    pass
net = c.networks.create('py-net', labels={'a': 'b'})
assert [n.id for n in c.networks.list(filters={'label': 'a=b'})] == [net.id]
vol = c.volumes.create('py-vol')
box = c.containers.run(image, ['sleep', '100'], detach=True, name='py-box', network='py-net', volumes={'py-vol': {'bind': '/data', 'mode': 'rw'}}, environment={'K': 'V'}, mem_limit='64m')
box.reload()
assert box.status == 'running'
code, out = box.exec_run(['sh', '-c', 'echo $K; echo to > /data/f; exit 4'])
assert (code, out) == (4, b'V\n'), (code, out)
code, (so, se) = box.exec_run(['sh', '-c', 'echo o; echo e >&2'], demux=True)
assert (code, so, se) == (0, b'o\n', b'e\n'), (code, so, se)
buf = io.BytesIO()
with tarfile.open(fileobj=buf, mode='w') as t:
    data = b'put by docker-py'
    info = tarfile.TarInfo('put'); info.size = len(data)
    t.addfile(info, io.BytesIO(data))
assert box.put_archive('/tmp', buf.getvalue())
bits, stat = box.get_archive('/tmp/put')
assert stat['name'] == 'put' and stat['size'] == 16, stat
got = tarfile.open(fileobj=io.BytesIO(b''.join(bits))).extractfile('put').read()
assert got == data, got
stats = box.stats(stream=False)
assert stats['memory_stats']['limit'] == 64 << 20, stats['memory_stats']
assert box.top()['Processes']
logs = c.containers.run(image, ['sh', '-c', 'for i in 1 2 3; do echo $i; done'], detach=True)
logs.wait()
assert logs.logs() == b'1\n2\n3\n'
assert [l for l in logs.logs(stream=True)] == [b'1\n', b'2\n', b'3\n'] or b''.join(logs.logs(stream=True)) == b'1\n2\n3\n'
assert logs.logs(tail=1) == b'3\n'
logs.remove()
box.stop(timeout=0)
assert box.wait()['StatusCode'] == 137
box.remove()
net.remove(); vol.remove()
assert c.containers.list(all=True) == []
assert c.containers.prune()['SpaceReclaimed'] == 0
print('all well')
`;

describe.skipIf(reason)(`docker-py${reason ? ` (skipped: ${reason})` : ''}`, () => {
  let trial: Trial;
  beforeAll(async () => {
    trial = await openTrial();
  });
  afterAll(async () => {
    if (trial) expect(await trial.close()).toEqual({});
  });

  it('drives the engine as it drives dockerd', () => {
    const { stdout, stderr } = spawnSync(python, ['-c', script, trial.image], {
      encoding: 'utf8',
      env: { ...process.env, DOCKER_HOST: `unix://${trial.engine.socket}` },
      timeout: 120_000,
    });
    expect(`${stdout}${stderr}`).toBe('all well\n');
  });
});
