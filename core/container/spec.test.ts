import { describe, expect, it } from 'vitest';
import { container, config, hostConfig } from '../../test/fakes/records.js';
import type { ContainerConfig, HostConfig } from './container.js';
import type { HostFacts } from './host-facts.js';
import { CAPABILITIES } from './capabilities.js';
import type { OciSeccomp, OciSpec } from './oci-spec.js';
import { type SpecInput, buildSpec } from './spec.js';

const facts: HostFacts = {
  cgroupVersion: 2,
  cpus: 4,
  cpusetCpus: '0-3',
  cpusetMems: '0',
  kernel: [6, 1],
  architecture: 'amd64',
  capabilities: CAPABILITIES,
  swapLimit: true,
  memoryLimit: true,
  pidsLimit: true,
  cpuShares: true,
  cpuQuota: true,
  cpuset: true,
  blkioWeight: true,
  oomKillDisable: false,
  apparmor: true,
  seccomp: true,
  mqueue: true,
};

const build = (own: Partial<ContainerConfig> = {}, host: Partial<HostConfig> = {}, input: Partial<SpecInput> = {}): OciSpec =>
  buildSpec({
    container: container({
      config: config({ hostname: 'me', cmd: ['sleep', '1'], ...own }),
      hostConfig: hostConfig({ ipcMode: 'private', cgroupnsMode: 'private', maskedPaths: undefined, readonlyPaths: undefined, ...host }),
    }),
    facts,
    defaults: { cgroupParent: '', noNewPrivileges: false, ulimits: [], seccompProfile: '', apparmorProfile: 'gantry-default' },
    user: { uid: 0, gid: 0, additionalGids: [0], home: '/root' },
    binds: [],
    tmpfs: new Map(),
    shm: { kind: 'own' },
    devices: { devices: [], rules: [] },
    blockDevices: new Map(),
    network: { path: '/run/netns/x' },
    pid: undefined,
    ipc: undefined,
    hostname: 'me',
    initPath: '',
    ...input,
  });

const allowed = (profile: OciSeccomp | undefined, name: string): boolean =>
  profile?.syscalls.some((rule) => rule.names.includes(name) && rule.action === 'SCMP_ACT_ALLOW' && !rule.args) ?? false;

describe('the specification of a container', () => {
  it("has Docker's defaults", () => {
    const spec = build();
    expect(spec.process.capabilities.bounding).toHaveLength(14);
    expect(spec.process.env).toEqual(['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'HOSTNAME=me', 'HOME=/root']);
    expect(spec.mounts.map(({ destination }) => destination)).toEqual([
      '/proc',
      '/dev',
      '/dev/pts',
      '/sys',
      '/sys/fs/cgroup',
      '/dev/mqueue',
      '/dev/shm',
    ]);
    expect(spec.linux.maskedPaths).toContain('/proc/kcore');
    expect(spec.linux.readonlyPaths).toContain('/proc/sys');
    expect(spec.linux.namespaces.map(({ type }) => type)).toEqual(['mount', 'network', 'uts', 'pid', 'ipc', 'cgroup']);
    expect(spec.linux.sysctl).toEqual({ 'net.ipv4.ip_unprivileged_port_start': '0', 'net.ipv4.ping_group_range': '0 2147483647' });
    expect(spec.linux.cgroupsPath).toBe(`/gantry/${'c'.repeat(64)}`);
    expect(spec.linux.resources.devices?.[0]).toEqual({ allow: false, access: 'rwm' });
  });

  it('overrides the environment in place and takes variables away', () => {
    const env = build({ tty: true, env: ['A=1', 'PATH=/x', 'TERM', 'HOME=/h'] }).process.env;
    expect(env).toEqual(['PATH=/x', 'HOSTNAME=me', 'A=1', 'HOME=/h']);
  });

  it('gives a user other than root no capability in effect', () => {
    const { capabilities } = build({}, {}, { user: { uid: 5, gid: 5, additionalGids: [5], home: '/' } }).process;
    expect([capabilities.bounding.length, capabilities.effective, capabilities.permitted]).toEqual([14, [], []]);
  });

  it('adds and drops capabilities', () => {
    const caps = (host: Partial<HostConfig>): readonly string[] => build({}, host).process.capabilities.bounding;
    expect(caps({ capDrop: ['ALL'], capAdd: ['net_admin'] })).toEqual(['CAP_NET_ADMIN']);
    expect(caps({ capAdd: ['ALL'], capDrop: ['CAP_SYS_ADMIN'] })).toEqual(CAPABILITIES.filter((name) => name !== 'CAP_SYS_ADMIN'));
    expect(caps({ capDrop: ['CHOWN'] })).not.toContain('CAP_CHOWN');
  });

  it('filters system calls by the final set of capabilities', () => {
    const plain = build().linux.seccomp;
    expect(plain).toMatchObject({ defaultAction: 'SCMP_ACT_ERRNO', defaultErrnoRet: 1 });
    expect([allowed(plain, 'read'), allowed(plain, 'mount'), allowed(plain, 'clone'), allowed(plain, 'chroot')]).toEqual([
      true,
      false,
      false,
      true,
    ]);
    expect(plain?.syscalls).toContainEqual({ names: ['clone3'], action: 'SCMP_ACT_ERRNO', errnoRet: 38 });
    // All families but those of the kernel's cryptography (38) and of the hypervisor (40).
    expect(plain?.syscalls.filter(({ names }) => names.includes('socket')).map(({ args }) => args)).toEqual([
      [{ index: 0, value: 38, valueTwo: 0, op: 'SCMP_CMP_LT' }],
      [{ index: 0, value: 39, valueTwo: 0, op: 'SCMP_CMP_EQ' }],
      [{ index: 0, value: 40, valueTwo: 0, op: 'SCMP_CMP_GT' }],
    ]);
    const admin = build({}, { capAdd: ['SYS_ADMIN'] }).linux.seccomp;
    expect([allowed(admin, 'mount'), allowed(admin, 'clone')]).toEqual([true, true]);
    expect(admin?.syscalls.some(({ errnoRet }) => errnoRet === 38)).toBe(false);
    expect(allowed(build({}, { capDrop: ['SYS_CHROOT'] }).linux.seccomp, 'chroot')).toBe(false);
    expect(build({}, { securityOpt: ['seccomp=unconfined'] }).linux.seccomp).toBeUndefined();
  });

  it("resolves a profile in Docker's form", () => {
    const profile = JSON.stringify({
      defaultAction: 'SCMP_ACT_ALLOW',
      archMap: [{ architecture: 'SCMP_ARCH_X86_64', subArchitectures: ['SCMP_ARCH_X86'] }, { architecture: 'SCMP_ARCH_AARCH64' }],
      syscalls: [
        { names: ['a'], action: 'SCMP_ACT_ERRNO', includes: { caps: ['CAP_SYS_ADMIN'] } },
        { names: ['b'], action: 'SCMP_ACT_ERRNO', excludes: { caps: ['CAP_SYS_ADMIN'] } },
        { name: 'c', action: 'SCMP_ACT_ERRNO', includes: { minKernel: '9.9' } },
      ],
    });
    const { seccomp } = build({}, { securityOpt: [`seccomp=${profile}`] }).linux;
    expect(seccomp).toEqual({
      defaultAction: 'SCMP_ACT_ALLOW',
      architectures: ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86'],
      syscalls: [{ names: ['b'], action: 'SCMP_ACT_ERRNO' }],
    });
    expect(() => build({}, { securityOpt: ['seccomp={'] })).toThrow('Decoding seccomp profile failed');
  });

  it('takes the fences away from a privileged one, within what the host can give', () => {
    const spec = build(
      {},
      { privileged: true, cgroupnsMode: 'host' },
      { facts: { ...facts, capabilities: ['CAP_CHOWN', 'CAP_SYS_ADMIN'] } },
    );
    expect(spec.process.capabilities.bounding).toEqual(['CAP_CHOWN', 'CAP_SYS_ADMIN']);
    expect(spec.linux.seccomp).toBeUndefined();
    expect(spec.linux.maskedPaths).toEqual([]);
    for (const path of ['/sys', '/sys/fs/cgroup']) {
      expect(spec.mounts.find(({ destination }) => destination === path)?.options).not.toContain('ro');
    }
  });

  it('keeps what programs need writable under a read-only root', () => {
    const spec = build({}, { readonlyRootfs: true });
    expect(spec.root.readonly).toBe(true);
    const readOnly = spec.mounts.filter(({ options }) => options.includes('ro')).map(({ destination }) => destination);
    expect(readOnly).toEqual(['/sys', '/sys/fs/cgroup']);
  });

  it('puts mounts in order of depth and lets a user replace what is there', () => {
    const bind = { source: '/s', readWrite: false, propagation: 'shared', nonRecursive: false, recursiveReadOnly: 'enabled' as const };
    const spec = build(
      {},
      {},
      {
        binds: [
          { ...bind, destination: '/a/b' },
          { ...bind, destination: '/a' },
          { ...bind, destination: '/dev/shm' },
        ],
        tmpfs: new Map([['/t', 'exec,size=1m']]),
      },
    );
    const own = spec.mounts.slice(6);
    expect(own.map(({ destination }) => destination)).toEqual(['/a', '/t', '/a/b', '/dev/shm']);
    expect(own[0]?.options).toEqual(['rbind', 'ro', 'rro', 'shared']);
    expect(own[1]?.options).toEqual(['nosuid', 'nodev', 'exec', 'size=1m']);
    expect(spec.linux.rootfsPropagation).toBe('shared');
  });

  it('translates limits', () => {
    const { resources } = build(
      {},
      {
        memory: 64 << 20,
        memorySwap: 128 << 20,
        nanoCpus: 1.5e9,
        pidsLimit: 10,
        cpusetCpus: '0',
        oomKillDisable: true,
        memorySwappiness: 5,
      },
    ).linux;
    expect(resources.memory).toEqual({ limit: 64 << 20, swap: 128 << 20 });
    expect(resources.cpu).toEqual({ period: 100_000, quota: 150_000, cpus: '0' });
    expect(resources.pids).toEqual({ limit: 10 });
  });

  it('runs the init program before the command', () => {
    const spec = build({}, {}, { initPath: '/usr/libexec/init' });
    expect(spec.process.args).toEqual(['/sbin/docker-init', '--', 'sleep', '1']);
    expect(spec.mounts.at(-1)).toEqual({
      destination: '/sbin/docker-init',
      type: 'bind',
      source: '/usr/libexec/init',
      options: ['bind', 'ro'],
    });
  });

  it('shares namespaces of the host', () => {
    const spec = build(
      {},
      { utsMode: 'host', cgroupnsMode: 'host', networkMode: 'host' },
      { network: 'host', pid: 'host', ipc: 'host', shm: { kind: 'bind', path: '/dev/shm' } },
    );
    expect(spec.linux.namespaces).toEqual([{ type: 'mount' }]);
    expect(spec.hostname).toBeUndefined();
    expect(spec.linux.sysctl).toEqual({});
    expect(spec.mounts.find(({ destination }) => destination === '/dev/mqueue')).toMatchObject({ type: 'bind', source: '/dev/mqueue' });
  });

  it('confines by the default profile, by the one that is named, or by none', () => {
    const profile = (securityOpt: string[], privileged = false, apparmor = true): string | undefined =>
      build({}, { securityOpt, privileged }, { facts: { ...facts, apparmor } }).process.apparmorProfile;
    expect(profile([])).toBe('gantry-default');
    expect(profile(['apparmor=custom'])).toBe('custom');
    expect(profile(['apparmor=unconfined'])).toBeUndefined();
    expect(profile([], true)).toBeUndefined();
    expect(profile(['apparmor=custom'], true)).toBe('custom');
    expect(profile(['apparmor=custom'], false, false)).toBeUndefined();
  });

  it('parses security options', () => {
    const spec = build({}, { securityOpt: ['no-new-privileges', 'apparmor=custom', 'systempaths=unconfined', 'label=disable'] });
    expect(spec.process).toMatchObject({ noNewPrivileges: true, apparmorProfile: 'custom' });
    expect(spec.linux.maskedPaths).toEqual([]);
    expect(() => build({}, { securityOpt: ['nonsense=1'] })).toThrow('invalid --security-opt 2: "nonsense=1"');
  });
});
