// The OCI runtimes alone beside the floor, on one bundle with the configuration that the engine writes (seccomp and cgroups on): `run` of
// /bin/true; create, start and delete; exec into a running container. Measured by the stopwatch, in C.
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, readdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { makeRootfs } from '../../cli/setup/trial-image.mjs';
import { median, row } from './report.mjs';
import { buildPrograms, measureInTurn } from './stopwatch.mjs';

const ROUNDS = 40;
const PARENT = `/gantry-bench-${process.pid}`;

/** The configuration of a container without network, as the engine hands it to its runtime, without what is this one container's. */
async function engineSpec({ gantry, folder }) {
  const { Id: id } = JSON.parse(
    await gantry.api('POST', '/containers/create', { Image: gantry.image, Cmd: ['sleep', '100'], HostConfig: { NetworkMode: 'none' } }),
  );
  await gantry.api('POST', `/containers/${id}/start`);
  const place = readdirSync(folder, { recursive: true }).find((path) => path.includes(id) && path.endsWith('/config.json'));
  const spec = JSON.parse(readFileSync(join(folder, place), 'utf8'));
  await gantry.api('DELETE', `/containers/${id}?force=1`);
  spec.process.terminal = false;
  spec.root.path = join(folder, 'bundle-rootfs');
  spec.mounts = spec.mounts.filter((mount) => mount.type !== 'bind');
  spec.linux.namespaces = spec.linux.namespaces.map(({ type }) => ({ type }));
  delete spec.hooks;
  return spec;
}

function bundle(folder, name, spec, args) {
  const path = join(folder, `bundle-${name}`);
  mkdirSync(path, { recursive: true });
  const linux = { ...spec.linux, cgroupsPath: `${PARENT}/${name}` };
  writeFileSync(join(path, 'config.json'), JSON.stringify({ ...spec, process: { ...spec.process, args }, linux }));
  return path;
}

/**
 * crun refuses a hybrid cgroup layout, and runc makes plain folders where the unified mount is only taken away: over a host's hybrid layout,
 * all see one of v1 alone. This mount namespace is the bench's own. Tells whether something is to be taken away again.
 */
function showPlainV1(folder) {
  const root = '/sys/fs/cgroup';
  const names = readdirSync(root);
  if (!names.includes('unified')) return false;
  call('/usr/bin/umount', '-l', `${root}/unified`);
  call('/usr/bin/mount', '-t', 'tmpfs', 'tmpfs', folder);
  for (const hierarchy of names.filter((other) => other !== 'unified'))
    call('/usr/bin/mount', '--bind', join(root, hierarchy), mkdirp(join(folder, hierarchy)));
  call('/usr/bin/mount', '--move', folder, root);
  return true;
}

/** The v1 hierarchies' folders for the bench; a cpuset has no processors until it is given some. */
function cgroupFolders() {
  const root = '/sys/fs/cgroup';
  const v2 = readdirSync(root).includes('cgroup.controllers');
  const folders = (
    v2
      ? [root]
      : readdirSync(root)
          .filter((name) => name !== 'unified')
          .map((name) => join(root, name))
  ).map((path) => path + PARENT);
  for (const path of folders) {
    mkdirSync(path, { recursive: true });
    if (!path.startsWith(`${root}/cpuset/`)) continue;
    for (const file of ['cpuset.cpus', 'cpuset.mems']) writeFileSync(join(path, file), readFileSync(join(path, '..', file)));
  }
  return folders;
}

/** The compiled filter out of the runtime's kept entry: the instructions are its end. */
function filterOf(cache) {
  const entry = readFileSync(join(cache, readdirSync(cache)[0]));
  return entry.subarray(-8 * entry.readUInt32LE(60));
}

const call = (program, ...words) => {
  const { status, error } = spawnSync(program, words, { stdio: ['ignore', 'ignore', 'inherit'] });
  if (status !== 0) throw new Error(`${program} ${words.join(' ')} ended with ${status ?? error}`);
};

export async function measure(peers) {
  const { root, folder } = peers;
  const spec = await engineSpec(peers);
  makeRootfs(mkdirp(spec.root.path));
  const { floor, stopwatch } = buildPrograms(join(folder, 'programs'));
  const shown = showPlainV1(mkdirp(join(folder, 'cgroup')));
  const cgroups = cgroupFolders();
  const programs = { gantry: join(root, 'native/build/bin/gantry-runtime'), crun: '/usr/bin/crun', runc: '/usr/sbin/runc' };
  const oci = (name, ...words) => [programs[name], '--root', mkdirp(join(folder, `state-${name}`)), ...words];
  const names = Object.keys(programs);
  const once = bundle(folder, 'once', spec, ['/bin/true']);
  try {
    // A filter that has been compiled once is kept.
    call(...oci('gantry', 'run', '-b', once, 'first'));
    const filter = join(folder, 'filter.bpf');
    writeFileSync(filter, filterOf(join(folder, 'state-gantry/.seccomp')));
    const overlay = ['merged', 'upper', 'work'].map((name) => mkdirp(join(folder, `overlay-${name}`)));

    const run = measureInTurn(stopwatch, ROUNDS, [
      ['floor', floor, spec.root.path, `${PARENT}/floor`, filter, '--', '/bin/true'],
      ['engine floor', floor, overlay[0], `${PARENT}/floor`, filter, spec.root.path, overlay[1], overlay[2], '--', '/bin/true'],
      ...names.map((name) => [name, ...oci(name, 'run', '-b', once, 'run%')]),
    ]);
    show('`run` of /bin/true', run, ['floor', 'engine floor', 'crun', 'runc']);
    row('runtime `run` of /bin/true, peak memory', 'MB', ROUNDS, median(run.gantry.peak), figures(run, 'peak', ['floor', 'crun', 'runc']));

    const phases = measureInTurn(
      stopwatch,
      ROUNDS,
      names.flatMap((name) => [
        [`create ${name}`, ...oci(name, 'create', '-b', once, 'phase%')],
        [`start ${name}`, ...oci(name, 'start', 'phase%')],
        ['orphans'],
        [`delete ${name}`, ...oci(name, 'delete', 'phase%')],
      ]),
    );
    for (const verb of ['create', 'start', 'delete']) {
      show(`\`${verb}\``, Object.fromEntries(names.map((name) => [name, phases[`${verb} ${name}`]])), ['crun', 'runc']);
    }

    for (const name of names) call(...oci(name, 'run', '-d', '-b', bundle(folder, name, spec, ['/bin/sleep', '1000']), 'stays'));
    try {
      const exec = measureInTurn(
        stopwatch,
        ROUNDS,
        names.map((name) => [name, ...oci(name, 'exec', 'stays', '/bin/true')]),
      );
      show('`exec` of /bin/true', exec, ['crun', 'runc']);
      row('runtime `exec` of /bin/true, peak memory', 'MB', ROUNDS, median(exec.gantry.peak), figures(exec, 'peak', ['crun', 'runc']));
    } finally {
      for (const name of names) call(...oci(name, 'delete', '--force', 'stays'));
    }
  } finally {
    for (const path of cgroups) rmdirSync(path);
    if (shown) call('/usr/bin/umount', '-R', '-l', '/sys/fs/cgroup');
  }
}

function mkdirp(path) {
  mkdirSync(path, { recursive: true });
  return path;
}

const figures = (times, kind, peers) => Object.fromEntries(peers.map((peer) => [peer, median(times[peer][kind])]));

function show(what, times, peers) {
  row(`runtime ${what}`, 'ms', ROUNDS, median(times.gantry.wall), figures(times, 'wall', peers));
  row(`runtime ${what}, processor time`, 'ms', ROUNDS, median(times.gantry.cpu), figures(times, 'cpu', peers));
}
