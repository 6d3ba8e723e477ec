// `run` of /bin/true by the OCI runtimes alone, on one bundle with the configuration that the engine writes (seccomp and cgroups on).
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { makeRootfs } from '../../cli/setup/trial-image.mjs';
import { interleaved, median, row } from './report.mjs';

export async function measure({ gantry, root, folder }) {
  const bundle = join(folder, 'bundle');
  mkdirSync(join(bundle, 'rootfs'), { recursive: true });
  makeRootfs(join(bundle, 'rootfs'));
  const { Id: id } = JSON.parse(
    await gantry.api('POST', '/containers/create', { Image: gantry.image, Cmd: ['sleep', '100'], HostConfig: { NetworkMode: 'none' } }),
  );
  await gantry.api('POST', `/containers/${id}/start`);
  const place = readdirSync(folder, { recursive: true }).find((path) => path.includes(id) && path.endsWith('/config.json'));
  const spec = JSON.parse(readFileSync(join(folder, place), 'utf8'));
  await gantry.api('DELETE', `/containers/${id}?force=1`);
  spec.process.args = ['/bin/true'];
  spec.process.terminal = false;
  spec.root.path = 'rootfs';
  spec.mounts = spec.mounts.filter((mount) => mount.type !== 'bind' && mount.type !== 'cgroup');
  spec.linux.namespaces = spec.linux.namespaces.map(({ type }) => ({ type }));
  spec.linux.cgroupsPath = '/gantry-bench/one';
  delete spec.hooks;
  writeFileSync(join(bundle, 'config.json'), JSON.stringify(spec));
  copyFileSync(join(bundle, 'config.json'), join(folder, 'bundle.json'));
  let number = 0;
  const run = (program) => () => {
    const { status, stderr } = spawnSync(
      program,
      ['--root', join(folder, 'runtime-state'), 'run', '--bundle', bundle, `bench${number++}`],
      { stdio: ['ignore', 'ignore', 'pipe'], encoding: 'utf8' },
    );
    if (status !== 0) throw new Error(`${program} run ended with ${status}: ${stderr}`);
  };
  // crun refuses a hybrid cgroup layout; without the unified mount all three see plain v1. This mount namespace is the bench's own.
  const hidden = spawnSync('umount', ['-l', '/sys/fs/cgroup/unified']).status === 0;
  const native = join(root, 'native/build/bin/gantry-runtime');
  const times = await interleaved(40, { gantry: run(native), crun: run('crun'), runc: run('runc') }, { warmUp: 3 });
  row('runtime `run` of /bin/true (spawn from Node included)', 'ms', 40, median(times.gantry), {
    crun: median(times.crun),
    runc: median(times.runc),
  });
  if (hidden) spawnSync('mount', ['-t', 'cgroup2', 'cgroup2', '/sys/fs/cgroup/unified']);
}
