import { chmodSync, cpSync, existsSync, mkdirSync, readlinkSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** Why no container can be run here, or `undefined`. */
export function noContainers(): string | undefined {
  if (process.getuid?.() !== 0) return 'needs root';
  if (!existsSync('/usr/bin/busybox') && !existsSync('/bin/busybox')) return 'needs busybox';
  return undefined;
}

const APPLETS = [
  'sh cat echo sleep true false head tail dd seq yes kill ps stty tty id env printf wc tr mkdir touch rm ls date setsid od nproc usleep mount',
]
  .join(' ')
  .split(' ');

/** The libraries of a dynamically linked program, from its maps: none of the host's programs needs to be run on it. */
function copyWithLibraries(program: string, rootfs: string): void {
  const copy = (path: string): void => {
    const target = join(rootfs, path);
    if (existsSync(target)) return;
    mkdirSync(dirname(target), { recursive: true });
    cpSync(realpathSync(path), target);
    chmodSync(target, 0o755);
  };
  cpSync(realpathSync(program), join(rootfs, 'bin/busybox'));
  for (const path of [
    '/lib64/ld-linux-x86-64.so.2',
    '/lib/ld-linux-aarch64.so.1',
    '/lib/x86_64-linux-gnu/libc.so.6',
    '/lib/aarch64-linux-gnu/libc.so.6',
    '/lib/x86_64-linux-gnu/libresolv.so.2',
    '/lib/aarch64-linux-gnu/libresolv.so.2',
  ]) {
    if (existsSync(path)) copy(path);
  }
}

/** A root file system with busybox in `folder`. */
export function busyboxRootfs(folder: string): void {
  for (const path of ['bin', 'proc', 'sys', 'dev', 'tmp', 'etc']) mkdirSync(join(folder, path), { recursive: true });
  copyWithLibraries(existsSync('/usr/bin/busybox') ? '/usr/bin/busybox' : '/bin/busybox', folder);
  for (const applet of APPLETS) {
    const link = join(folder, 'bin', applet);
    if (!existsSync(link)) symlinkSync('busybox', link);
  }
  readlinkSync(join(folder, 'bin/sh'));
}

export interface BundleOptions {
  readonly args: readonly string[];
  readonly terminal?: boolean;
  readonly cgroup: string;
  /** Absolute: several bundles may share one. */
  readonly rootfs: string;
  readonly memory?: number;
  readonly env?: readonly string[];
}

const CAPABILITIES = ['CAP_KILL', 'CAP_CHOWN', 'CAP_SETUID', 'CAP_SETGID', 'CAP_DAC_OVERRIDE'];

export const ociProcess = (args: readonly string[], terminal = false, env: readonly string[] = []): Record<string, unknown> => ({
  terminal,
  user: { uid: 0, gid: 0 },
  args,
  env: ['PATH=/bin', ...env],
  cwd: '/',
  capabilities: { bounding: CAPABILITIES, effective: CAPABILITIES, permitted: CAPABILITIES },
  noNewPrivileges: true,
});

/** Writes config.json. */
export function writeBundle(bundle: string, options: BundleOptions): void {
  mkdirSync(bundle, { recursive: true });
  const config = {
    ociVersion: '1.0.2',
    process: ociProcess(options.args, options.terminal, options.env),
    root: { path: options.rootfs },
    hostname: 'test',
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc' },
      { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'mode=755', 'size=64k'] },
      {
        destination: '/dev/pts',
        type: 'devpts',
        source: 'devpts',
        options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620'],
      },
    ],
    linux: {
      cgroupsPath: options.cgroup,
      namespaces: ['pid', 'ipc', 'uts', 'mount', 'network'].map((type) => ({ type })),
      ...(options.memory === undefined ? {} : { resources: { memory: { limit: options.memory, swap: options.memory } } }),
    },
  };
  writeFileSync(join(bundle, 'config.json'), JSON.stringify(config));
}
