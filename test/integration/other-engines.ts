import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { makeRootfs } from '../conformance/runtime-bundle.js';

const runtime = fileURLToPath(new URL('../../native/build/bin/gantry-runtime', import.meta.url));

/** How a command of an engine's client ended. */
export interface Outcome {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Another container engine that runs its containers with gantry-runtime. */
export interface OtherEngine {
  readonly folder: string;
  /** The name of its cgroups' parent. */
  readonly cgroupParent: string;
  /** Its client: `run --rm IMAGE …` and the like. */
  cli(...args: readonly string[]): Outcome;
  /** The client on a terminal of its own. */
  onTerminal(...args: readonly string[]): Outcome;
  /** Flags of `run` that this engine needs here. */
  readonly runFlags: readonly string[];
  /** Removes a container at once, whether it runs or not. */
  remove(id: string): void;
  close(): Promise<void>;
}

/** The image that both engines get. */
export const image = 'test-busybox';

const ended = (program: string, args: readonly string[], env?: NodeJS.ProcessEnv): Outcome => {
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8', env: env ?? process.env, timeout: 60_000 });
  return { status, stdout: stdout.trim(), stderr: stderr.trim() };
};

const quoted = (words: readonly string[]): string => words.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(' ');

function makeFolder(name: string): { folder: string; archive: string } {
  const folder = mkdtempSync(`/var/tmp/gantry-under-${name}-`);
  // Mapped users pass through it.
  chmodSync(folder, 0o711);
  makeRootfs(join(folder, 'rootfs'));
  const archive = join(folder, 'rootfs.tar');
  if (spawnSync('tar', ['-C', join(folder, 'rootfs'), '-cf', archive, '.']).status !== 0) throw new Error('tar failed');
  return { folder, archive };
}

/** Takes away what an engine leaves of itself, whatever its containers did: mounts, its own cgroups, its folder. */
function removeFolder(folder: string, cgroupParents: readonly string[]): void {
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .filter((target) => target.startsWith(folder));
  for (const target of mounts.toReversed()) spawnSync('umount', ['-l', target]);
  for (const parent of cgroupParents)
    spawnSync('find', ['/sys/fs/cgroup', '-depth', '-type', 'd', '-path', `*/${parent}*`, '-exec', 'rmdir', '{}', '+']);
  rmSync(folder, { recursive: true, force: true });
}

/** Debian's dockerd on its own socket and roots, without any network. `userns` has it map every container's users. */
export async function startDockerd(options: { readonly userns?: boolean } = {}): Promise<OtherEngine> {
  const { folder, archive } = makeFolder('dockerd');
  const cgroupParent = folder.slice(folder.lastIndexOf('/') + 1);
  const socket = join(folder, 'docker.sock');
  writeFileSync(join(folder, 'daemon.json'), '{}');
  const words = ['dockerd', '--config-file', join(folder, 'daemon.json'), '--host', `unix://${socket}`, '--pidfile', join(folder, 'pid')];
  words.push('--data-root', join(folder, 'data'), '--exec-root', join(folder, 'exec'), '--storage-driver', 'vfs');
  words.push('--bridge', 'none', '--iptables=false', '--ip6tables=false', '--cgroup-parent', `/${cgroupParent}`);
  words.push('--add-runtime', `gantry=${runtime}`, '--default-runtime', 'gantry');
  let prepare = '';
  if (options.userns) {
    // Who maps to whom is asked of two files of the host; in this mount namespace they are ours.
    writeFileSync(join(folder, 'sub'), 'nobody:200000:65536\nnogroup:200000:65536\n');
    prepare = `mount --bind ${folder}/sub /etc/subuid && mount --bind ${folder}/sub /etc/subgid &&`;
    words.push('--userns-remap', 'nobody:nogroup');
  }
  const log = openSync(join(folder, 'log'), 'w');
  const shell = `${prepare} exec ${quoted(words)}`;
  const daemon = spawn('unshare', ['--mount', '--propagation', 'private', 'sh', '-c', shell], { stdio: ['ignore', log, log] });
  const env = { ...process.env, DOCKER_HOST: `unix://${socket}` };
  const cli = (...args: readonly string[]): Outcome => ended('docker', args, env);
  const close = async (): Promise<void> => {
    const left = cli('ps', '-aq').stdout.split('\n').filter(Boolean);
    if (left.length > 0) cli('rm', '-f', ...left);
    if (daemon.exitCode === null) {
      const gone = new Promise((resolve) => daemon.once('exit', resolve));
      daemon.kill('SIGTERM');
      await gone;
    }
    removeFolder(folder, [cgroupParent]);
  };
  try {
    for (const until = Date.now() + 30_000; cli('info').status !== 0;) {
      if (daemon.exitCode !== null || Date.now() > until)
        throw new Error(`dockerd does not answer: ${readFileSync(join(folder, 'log'), 'utf8').slice(-2000)}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    const imported = cli('import', archive, image);
    if (imported.status !== 0) throw new Error(imported.stderr);
  } catch (error) {
    await close();
    throw error;
  }
  const onTerminal = (...args: readonly string[]): Outcome => ended('script', ['-qec', `docker ${quoted(args)}`, '/dev/null'], env);
  return { folder, cgroupParent, cli, onTerminal, runFlags: [], remove: (id) => void cli('rm', '-f', id), close };
}

/** podman on its own roots. It asks for limits above what a host without CAP_SYS_RESOURCE can give, unless it is told which. */
export async function startPodman(): Promise<OtherEngine> {
  const { folder, archive } = makeFolder('podman');
  const cgroupParent = folder.slice(folder.lastIndexOf('/') + 1);
  const global = ['--root', join(folder, 'data'), '--runroot', join(folder, 'run'), '--tmpdir', join(folder, 'tmp')];
  global.push('--runtime', runtime, '--cgroup-manager', 'cgroupfs', '--storage-driver', 'vfs', '--events-backend', 'file');
  for (const name of ['data', 'run', 'tmp']) mkdirSync(join(folder, name));
  const parent = 'libpod_parent';
  const before = existsSync(`/sys/fs/cgroup/memory/${parent}`) || existsSync(`/sys/fs/cgroup/${parent}`);
  const cli = (...args: readonly string[]): Outcome => ended('podman', [...global, ...args]);
  const imported = cli('import', archive, image);
  if (imported.status !== 0) {
    removeFolder(folder, [cgroupParent]);
    throw new Error(imported.stderr);
  }
  return {
    folder,
    cgroupParent,
    cli,
    onTerminal: (...args) => ended('script', ['-qec', quoted(['podman', ...global, ...args]), '/dev/null']),
    runFlags: [
      '--network',
      'none',
      '--ulimit',
      'nofile=1024:1024',
      '--ulimit',
      'nproc=1000:1000',
      '--cgroup-parent',
      `/${cgroupParent}`,
      '--cgroups',
      'no-conmon',
    ],
    remove: (id) => void cli('rm', '-f', '-t', '0', id),
    close: async () => {
      cli('rm', '-f', '-a', '-t', '0');
      cli('rmi', '-f', '-a');
      removeFolder(folder, before ? [cgroupParent] : [cgroupParent, parent]);
    },
  };
}
