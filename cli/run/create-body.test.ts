import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseFlags } from '../flags.js';
import { containerFlags } from '../run-flags.js';
import type { CreateBody, HostConfig } from './body.js';
import { createBody } from './create-body.js';

let folder = '';
const file = (name: string): string => join(folder, name);

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'gantry-flags-'));
  writeFileSync(file('env'), '# a comment\n\nA=1\r\n  B=2 3\nGANTRY_TEST_SET\nGANTRY_TEST_UNSET\nC=\n');
  writeFileSync(file('spaces'), 'A B=1\n');
  writeFileSync(file('nameless'), '=1\n');
  writeFileSync(file('labels'), 'x=1\ny\n');
  writeFileSync(file('profile.json'), '{ "defaultAction":\n "SCMP_ACT_ALLOW" }');
  writeFileSync(file('broken.json'), '{');
  process.env['GANTRY_TEST_SET'] = 'here';
  delete process.env['GANTRY_TEST_UNSET'];
});

afterAll(() => {
  rmSync(folder, { recursive: true });
  delete process.env['GANTRY_TEST_SET'];
});

const body = (...argv: string[]): CreateBody => {
  const line = parseFlags([...argv.map((word) => word.replace('FOLDER', folder)), 'img'], containerFlags, false);
  const [image, ...command] = line.args as [string, ...string[]];
  return createBody(line.flags, line.given, image, command);
};
const host = (...argv: string[]): HostConfig => body(...argv).HostConfig;

describe('without flags', () => {
  it('the request says little, so that the engine decides', () => {
    expect(body()).toEqual({
      AttachStdin: false,
      AttachStdout: true,
      AttachStderr: true,
      Tty: false,
      OpenStdin: false,
      StdinOnce: false,
      Image: 'img',
      Labels: {},
      HostConfig: { NetworkMode: 'default', RestartPolicy: { Name: 'no', MaximumRetryCount: 0 }, LogConfig: { Type: '', Config: {} } },
      NetworkingConfig: { EndpointsConfig: {} },
    });
  });

  it('what follows the image is its command, flags and all', () => {
    const line = parseFlags(['img', 'ls', '--name', 'x'], containerFlags, false);
    expect(createBody(line.flags, line.given, 'img', line.args.slice(1)).Cmd).toEqual(['ls', '--name', 'x']);
  });
});

describe('streams', () => {
  it.each([
    [['-i'], { AttachStdin: true, AttachStdout: true, OpenStdin: true, StdinOnce: true }],
    [['-a', 'STDOUT'], { AttachStdin: false, AttachStdout: true, AttachStderr: false }],
    [['-a', 'stdin', '-i'], { AttachStdin: true, AttachStdout: false, OpenStdin: true, StdinOnce: true }],
    [['-t'], { Tty: true, OpenStdin: false }],
  ])('%j', (argv, expected) => expect(body(...argv)).toMatchObject(expected));
});

describe('the process', () => {
  it('gets its environment from files first and flags after', () => {
    expect(body('-e', 'A=9', '--env-file', 'FOLDER/env', '-e', 'GANTRY_TEST_SET', '-e', 'GANTRY_TEST_UNSET').Env).toEqual([
      'A=1',
      'B=2 3',
      'GANTRY_TEST_SET=here',
      'C=',
      'A=9',
      'GANTRY_TEST_SET=here',
      'GANTRY_TEST_UNSET',
    ]);
  });

  it('tells an empty entry point from none', () => {
    expect(body('--entrypoint=').Entrypoint).toEqual(['']);
    expect(body('--entrypoint', 'sh').Entrypoint).toEqual(['sh']);
    expect(body()).not.toHaveProperty('Entrypoint');
  });

  it('has labels from files and flags', () =>
    expect(body('--label-file', 'FOLDER/labels', '-l', 'a=b=c', '-l', 'd').Labels).toEqual({ x: '1', y: '', a: 'b=c', d: '' }));

  it('has a health check in nanoseconds', () => {
    expect(body('--health-cmd', 'true', '--health-interval', '5s', '--health-timeout', '1m', '--health-retries', '2').Healthcheck).toEqual({
      Test: ['CMD-SHELL', 'true'],
      Interval: 5e9,
      Timeout: 60e9,
      Retries: 2,
    });
    expect(body('--no-healthcheck').Healthcheck).toEqual({ Test: ['NONE'] });
  });

  it('has a stop timeout of zero only when it is asked for', () => {
    expect(body('--stop-timeout', '0').StopTimeout).toBe(0);
    expect(body()).not.toHaveProperty('StopTimeout');
  });
});

describe('ports', () => {
  it.each([
    ['80', { '80/tcp': [{ HostIp: '', HostPort: '' }] }],
    ['8080:80', { '80/tcp': [{ HostIp: '', HostPort: '8080' }] }],
    ['127.0.0.1::80/udp', { '80/udp': [{ HostIp: '127.0.0.1', HostPort: '' }] }],
    ['[::1]:8080:80', { '80/tcp': [{ HostIp: '::1', HostPort: '8080' }] }],
    ['8000-8001:80-81', { '80/tcp': [{ HostIp: '', HostPort: '8000' }], '81/tcp': [{ HostIp: '', HostPort: '8001' }] }],
    ['8000-8010:80', { '80/tcp': [{ HostIp: '', HostPort: '8000-8010' }] }],
    ['target=80,published=8080,protocol=udp', { '80/udp': [{ HostIp: '', HostPort: '8080' }] }],
  ])('-p %s', (text, bindings) => {
    expect(host('-p', text).PortBindings).toEqual(bindings);
    expect(Object.keys(body('-p', text).ExposedPorts ?? {})).toEqual(Object.keys(bindings));
  });

  it('collects several bindings of one port, and ports that are only exposed', () => {
    const made = body('-p', '1:80', '-p', '2:80', '--expose', '90-91/udp');
    expect(made.HostConfig.PortBindings?.['80/tcp']).toHaveLength(2);
    expect(Object.keys(made.ExposedPorts ?? {})).toEqual(['80/tcp', '90/udp', '91/udp']);
  });
});

describe('mounts', () => {
  it('makes paths of this machine absolute and leaves names alone', () => {
    expect(host('-v', './x:/b:ro', '-v', 'vol:/c', '-v', '/d:/e').Binds).toEqual([`${resolve('x')}:/b:ro`, 'vol:/c', '/d:/e']);
    expect(body('-v', '/only').Volumes).toEqual({ '/only': {} });
  });

  it.each([
    ['type=bind,source=/a,target=/b,readonly', { Type: 'bind', Source: '/a', Target: '/b', ReadOnly: true }],
    [
      'src=v,dst=/b,volume-nocopy,volume-opt=type=nfs',
      { Type: 'volume', Source: 'v', Target: '/b', VolumeOptions: { NoCopy: true, DriverConfig: { Options: { type: 'nfs' } } } },
    ],
    [
      'type=volume,dst=/b,"volume-opt=o=addr=1,rw"',
      { Type: 'volume', Target: '/b', VolumeOptions: { DriverConfig: { Options: { o: 'addr=1,rw' } } } },
    ],
    [
      'type=tmpfs,dst=/b,tmpfs-size=1m,tmpfs-mode=1770',
      { Type: 'tmpfs', Target: '/b', TmpfsOptions: { SizeBytes: 1048576, Mode: 0o1770 } },
    ],
    ['type=bind,src=/a,dst=/b,bind-recursive=disabled', { Type: 'bind', Source: '/a', Target: '/b', BindOptions: { NonRecursive: true } }],
  ])('--mount %s', (text, mount) => expect(host('--mount', text).Mounts).toEqual([mount]));

  it('keeps options of a tmpfs', () =>
    expect(host('--tmpfs', '/x', '--tmpfs', '/y:size=1m,mode=700').Tmpfs).toEqual({ '/x': '', '/y': 'size=1m,mode=700' }));
});

describe('networks', () => {
  it('needs no endpoint for one network without options', () => {
    expect(body('--network', 'net').NetworkingConfig.EndpointsConfig).toEqual({});
    expect(host('--network', 'net').NetworkMode).toBe('net');
  });

  it('gives the plain flags to the first of several', () => {
    expect(
      body('--network', 'a', '--network', 'name=b,alias=y,ip=10.0.0.3,gw-priority=3', '--network-alias', 'x', '--ip', '10.0.0.2')
        .NetworkingConfig.EndpointsConfig,
    ).toEqual({
      a: { Aliases: ['x'], IPAMConfig: { IPv4Address: '10.0.0.2' } },
      b: { Aliases: ['y'], IPAMConfig: { IPv4Address: '10.0.0.3' }, GwPriority: 3 },
    });
  });
});

describe('limits and devices', () => {
  it.each([
    [['--cpus', '1.5'], { NanoCpus: 1.5e9 }],
    [['--cpus', '1/2'], { NanoCpus: 0.5e9 }],
    [['-m', '512m', '--memory-swap', '-1', '--memory-swappiness', '0'], { Memory: 536870912, MemorySwap: -1, MemorySwappiness: 0 }],
    [['--pids-limit', '-1'], { PidsLimit: -1 }],
    [
      ['--ulimit', 'nofile=1:2', '--ulimit', 'core=-1'],
      {
        Ulimits: [
          { Name: 'core', Soft: -1, Hard: -1 },
          { Name: 'nofile', Soft: 1, Hard: 2 },
        ],
      },
    ],
    [
      ['--device', '/dev/a', '--device', '/dev/b:/dev/c:r', '--device', '/dev/d:rw'],
      {
        Devices: [
          { PathOnHost: '/dev/a', PathInContainer: '/dev/a', CgroupPermissions: 'rwm' },
          { PathOnHost: '/dev/b', PathInContainer: '/dev/c', CgroupPermissions: 'r' },
          { PathOnHost: '/dev/d', PathInContainer: '/dev/d', CgroupPermissions: 'rw' },
        ],
      },
    ],
    [['--device', 'vendor.com/gpu=all'], { DeviceRequests: [{ Driver: 'cdi', DeviceIDs: ['vendor.com/gpu=all'] }] }],
    [
      ['--device-read-bps', '/dev/sda:1mb', '--device-write-iops', '/dev/sda:10'],
      { BlkioDeviceReadBps: [{ Path: '/dev/sda', Rate: 1048576 }], BlkioDeviceWriteIOps: [{ Path: '/dev/sda', Rate: 10 }] },
    ],
    [['--restart', 'on-failure:3'], { RestartPolicy: { Name: 'on-failure', MaximumRetryCount: 3 } }],
    [['--cap-add', 'net_admin', '--cap-drop', 'all'], { CapAdd: ['CAP_NET_ADMIN'], CapDrop: ['ALL'] }],
    [['--init=false'], { Init: false }],
    [['--storage-driver', 'vfs', '--storage-opt', 'size=1G'], { StorageOpt: { driver: 'vfs', size: '1G' } }],
    [['--log-driver', 'json-file', '--log-opt', 'max-size=1m'], { LogConfig: { Type: 'json-file', Config: { 'max-size': '1m' } } }],
    [
      ['--add-host', 'a:1.2.3.4', '--add-host', 'b=[::1]', '--add-host', 'c=host-gateway'],
      { ExtraHosts: ['a:1.2.3.4', 'b:::1', 'c:host-gateway'] },
    ],
    [['--security-opt', 'systempaths=unconfined'], { MaskedPaths: [], ReadonlyPaths: [] }],
    [['--annotation', 'a=b'], { Annotations: { a: 'b' } }],
  ])('%j', (argv, expected) => expect(host(...argv)).toMatchObject(expected));

  it('sends the text of a seccomp profile, since the engine may be elsewhere', () => {
    expect(host('--security-opt', 'seccomp=FOLDER/profile.json').SecurityOpt).toEqual(['seccomp={"defaultAction":"SCMP_ACT_ALLOW"}']);
    expect(host('--security-opt', 'seccomp=unconfined', '--security-opt', 'apparmor:x').SecurityOpt).toEqual([
      'seccomp=unconfined',
      'apparmor:x',
    ]);
  });
});

describe('what makes no sense', () => {
  it.each([
    [['--restart', 'always', '--rm'], 'conflicting options: cannot specify both --restart and --rm'],
    [['--restart', 'on-failure:x'], 'invalid restart policy format: maximum retry count must be an integer'],
    [['--restart', ':3'], 'invalid restart policy format: no policy provided before colon'],
    [['--memory-swappiness', '200'], 'invalid value: 200. Valid memory swappiness range is 0-100'],
    [['--mac-address', 'x'], 'x is not a valid mac address'],
    [['-p', '80:80/foo'], 'invalid proto: foo'],
    [['-p', '1.2.3:80:80'], 'invalid IP address: 1.2.3'],
    [['-p', 'x:80'], 'invalid hostPort: x'],
    [['-p', '8080:'], 'no port specified: 8080:<empty>'],
    [['-p', '1-3:80-83'], 'invalid ranges specified for container and host Ports: 80-83 and 1-3'],
    [['--expose', '80:90'], 'invalid port format for --expose: 80:90'],
    [['-v', ''], 'invalid empty volume spec'],
    [['-v', ':/b'], 'invalid spec: :/b: empty section between colons'],
    [['--mount', 'foo'], "invalid field 'foo' must be a key=value pair"],
    [['--mount', 'foo=bar'], "unexpected key 'foo' in 'foo=bar'"],
    [['--mount', 'type=bind,src=/a'], 'target is required'],
    [['--mount', 'type=bind,src=/a,dst=/b,volume-nocopy'], "cannot mix 'volume-*' options with mount type 'bind'"],
    [['--mount', 'type=tmpfs,dst=/b,tmpfs-size=x'], 'invalid value for tmpfs-size: x'],
    [['--network', 'name=a,foo=b'], 'invalid field key foo'],
    [['--network', 'a', '--network', 'a'], 'network "a" is specified multiple times'],
    [['--network', 'a', '--network', 'host'], 'conflicting options: cannot attach both user-defined and non-user-defined network-modes'],
    [
      ['--network', 'name=a,alias=x', '--network-alias', 'y'],
      'conflicting options: cannot specify both --network-alias and per-network alias',
    ],
    [['--cpus', 'x'], 'failed to parse x as a rational number'],
    [['--cpus', '1/3'], 'value is too precise'],
    [['--ulimit', 'x'], 'invalid ulimit argument: x'],
    [['--ulimit', 'foo=1'], 'invalid ulimit type: foo'],
    [['--ulimit', 'nofile=3:2'], 'ulimit soft limit must be less than or equal to hard limit: 3 > 2'],
    [['--device', '/dev/a:/dev/b:q'], 'bad mode specified: q'],
    [['--device-read-bps', 'sda:1'], 'bad format for device path: sda:1'],
    [['--security-opt', 'foo'], 'Invalid --security-opt: "foo"'],
    [['--security-opt', 'seccomp=FOLDER/absent'], 'opening seccomp profile'],
    [['--security-opt', 'seccomp=FOLDER/broken.json'], 'compacting json for seccomp profile'],
    [['--env-file', 'FOLDER/spaces'], "variable 'A B' contains whitespaces"],
    [['--env-file', 'FOLDER/nameless'], "no variable name on line '=1'"],
    [['--env-file', 'FOLDER/absent'], 'no such file or directory'],
    [['-e', '=x'], 'invalid environment variable: =x'],
    [['-l', '=x'], "invalid label '=x': empty name"],
    [['--no-healthcheck', '--health-cmd', 'x'], '--no-healthcheck conflicts with --health-* options'],
    [['--health-interval', '-5s'], '--health-interval cannot be negative'],
    [['--log-driver', 'none', '--log-opt', 'a=b'], 'invalid logging opts for driver none'],
    [['--pid', 'foo'], '--pid: invalid PID mode'],
    [['--uts', 'foo'], '--uts: invalid UTS mode'],
    [['--userns', 'foo'], '--userns: invalid USER mode'],
    [['--cgroupns', 'foo'], '--cgroupns: invalid CGROUP mode'],
    [['--storage-opt', 'foo'], 'invalid storage option'],
    [['--storage-driver', 'vfs', '--storage-opt', 'driver=overlay2'], 'name different drivers'],
    [['--sysctl', 'kernel.hostname=x'], "sysctl 'kernel.hostname=x' is not allowed"],
    [['--add-host', 'a:b'], 'invalid IP address in add-host: "b"'],
    [['--dns', 'foo'], 'IP address is not correctly formatted: foo'],
    [['-a', 'foo'], 'valid streams are STDIN, STDOUT and STDERR'],
    [['--gpus', 'foo'], 'invalid count (foo)'],
    [['--link', 'a:b:c'], 'bad format for links: a:b:c'],
    [['--device-cgroup-rule', 'x'], "invalid device cgroup format 'x'"],
  ])('%j', (argv, message) => expect(() => body(...argv)).toThrow(message));
});
