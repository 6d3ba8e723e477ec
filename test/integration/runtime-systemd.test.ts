import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Json } from '../conformance/runtime-bundle.js';
import { FakeSystemd } from '../fakes/systemd.js';
import {
  cgroupV2,
  describeOci,
  gantryRuntime,
  linux,
  object,
  resources,
  until,
  type Change,
  type OciTrial,
  type Result,
} from './oci-trial.js';

const root = cgroupV2 ? '/sys/fs/cgroup' : '/sys/fs/cgroup/systemd';
const usable = existsSync(join(root, 'cgroup.procs'));
if (!usable) console.log('skipped: the systemd driver needs the hierarchy of systemd');
/** The systemd of this machine, spoken to as root does it, without a bus. */
const real = existsSync('/run/systemd/private') && readFileSync('/proc/1/comm', 'utf8').trim() === 'systemd';
if (!real) console.log('skipped: units made by systemd itself need it as process 1');
const busDaemon = '/usr/bin/dbus-daemon';
if (!existsSync(busDaemon)) console.log('skipped: the bus that nobody serves needs dbus-daemon');

describeOci('the systemd cgroup driver', (trial) => {
  /** The server is in this process: nothing here may wait for a call of the runtime without serving it. */
  const call = (oci: OciTrial, bus: string, ...args: string[]): Promise<Result> =>
    new Promise((resolve) => {
      const env = { ...process.env, DBUS_SYSTEM_BUS_ADDRESS: `unix:path=${bus}` };
      const words = ['--root', oci.state, '--systemd-cgroup', ...args];
      // A container that outlives the call must not hold a pipe of ours.
      const child = spawn(gantryRuntime, words, { env, stdio: ['ignore', 'ignore', 'pipe'] });
      let err = '';
      child.stderr.on('data', (data: Buffer) => (err += data.toString()));
      child.on('exit', (code) => {
        child.stderr.destroy();
        resolve({ code, out: '', err });
      });
    });
  const serving = async (body: (oci: OciTrial, systemd: FakeSystemd, run: (...args: string[]) => Promise<Result>) => Promise<void>) => {
    const oci = trial();
    const systemd = new FakeSystemd(join(oci.folder, `systemd-${Math.random()}.sock`), [root]);
    await systemd.listen();
    const slice = `${oci.cgroupName.replace(/[^a-zA-Z]/g, '')}`;
    try {
      await body(oci, systemd, (...args) => call(oci, systemd.path, ...args));
    } finally {
      await call(oci, systemd.path, 'delete', '--force', 'c');
      systemd.close();
      spawnSync('sh', ['-c', `find /sys/fs/cgroup -depth -type d -path '*/${slice}.slice*' -exec rmdir {} +`]);
    }
  };
  const inSlice =
    (oci: OciTrial, more: Json = {}): Change =>
    (spec) => {
      const stem = oci.cgroupName.replace(/[^a-zA-Z]/g, '');
      linux(spec)['cgroupsPath'] = `${stem}-inner.slice:trial:c`;
      Object.assign(
        resources(spec),
        { pids: { limit: 55 }, memory: { limit: 64 << 20 }, cpu: { shares: 512, quota: 25_500, period: 100_000 } },
        more,
      );
    };

  it.runIf(usable)('asks systemd for a scope in its slice, puts limits there, and stops it afterwards', async () => {
    await serving(async (oci, systemd, run) => {
      const stem = oci.cgroupName.replace(/[^a-zA-Z]/g, '');
      oci.write(['sleep', '100'], (spec) => {
        inSlice(oci)(spec);
        object(spec)['annotations'] = {
          'org.systemd.property.TimeoutStopSec': '5',
          'org.systemd.property.CollectMode': "'inactive-or-failed'",
        };
      });
      const pidFile = join(oci.folder, 'pid');
      expect(await run('create', '--bundle', oci.bundle, '--pid-file', pidFile, 'c')).toMatchObject({ code: 0, err: '' });
      const start = systemd.calls.find(({ member }) => member === 'StartTransientUnit');
      expect(start?.arguments).toEqual(['trial-c.scope', 'replace']);
      expect(start?.properties).toMatchObject({
        Description: 'container c',
        Slice: `${stem}-inner.slice`,
        Delegate: true,
        DefaultDependencies: false,
        PIDs: [expect.any(Number)],
        TasksMax: 55n,
        [cgroupV2 ? 'MemoryMax' : 'MemoryLimit']: BigInt(64 << 20),
        CPUQuotaPerSecUSec: 260_000n,
        CPUQuotaPeriodUSec: 100_000n,
        TimeoutStopUSec: 5_000_000n,
        CollectMode: 'inactive-or-failed',
      });
      // On v2 the runtime's own program holds, whatever systemd does.
      if (!cgroupV2) {
        expect(start?.properties['DevicePolicy']).toBe('strict');
        expect(start?.properties['DeviceAllow']).toEqual(
          expect.arrayContaining([
            ['/dev/char/1:3', 'rwm'],
            ['char-*', 'm'],
          ]),
        );
      }
      const dir = `/${stem}.slice/${stem}-inner.slice/trial-c.scope`;
      const pid = readFileSync(pidFile, 'utf8');
      expect(readFileSync(join(root, dir, 'cgroup.procs'), 'utf8').trim()).toBe(pid);
      expect(readFileSync(join(cgroupV2 ? root : '/sys/fs/cgroup/pids', dir, 'pids.max'), 'utf8').trim()).toBe('55');
      expect(await run('start', 'c')).toMatchObject({ code: 0 });
      expect(await run('update', '--pids-limit', '66', 'c')).toMatchObject({ code: 0, err: '' });
      expect(systemd.calls.find(({ member }) => member === 'SetUnitProperties')).toMatchObject({
        arguments: ['trial-c.scope', true],
        properties: { TasksMax: 66n },
      });
      expect(await run('delete', '--force', 'c')).toMatchObject({ code: 0, err: '' });
      expect(systemd.calls.slice(-2).map(({ member }) => member)).toEqual(['StopUnit', 'ResetFailedUnit']);
      expect(existsSync(join(root, dir))).toBe(false);
      until(() => !existsSync(`/proc/${pid}/stat`) || readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z '));
    });
  });

  describe.runIf(real)('with systemd itself', () => {
    const shown = (unit: string, ...names: string[]): Record<string, string> => {
      const { stdout } = spawnSync('systemctl', ['show', unit, `--property=${names.join(',')}`], { encoding: 'utf8' });
      return Object.fromEntries(
        stdout.split('\n').flatMap((line) => (line ? [[line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]] : [])),
      );
    };
    const reload = (): void => expect(spawnSync('systemctl', ['daemon-reload']).status).toBe(0);
    const ask = (oci: OciTrial, ...args: string[]): Result => oci.call('--systemd-cgroup', ...args);
    const quiet = (oci: OciTrial, ...args: string[]): void => {
      const log = join(oci.folder, 'systemd.log');
      rmSync(log, { force: true });
      const { code } = oci.spawn(['--systemd-cgroup', '--log', log, ...args], { stdio: 'ignore' });
      expect({ code, log: existsSync(log) ? readFileSync(log, 'utf8') : '' }).toEqual({ code: 0, log: '' });
    };

    it('is in a delegated scope whose limits hold, also when systemd reads its units anew', () => {
      const oci = trial();
      const stem = oci.cgroupName.replace(/[^a-zA-Z]/g, '');
      const unit = `trial-${stem}.scope`;
      const dir = `/${stem}.slice/${stem}-inner.slice/${unit}`;
      const control = (controller: string, file: string): string =>
        readFileSync(join('/sys/fs/cgroup', cgroupV2 ? '' : controller, dir, file), 'utf8').trim();
      const memory = cgroupV2 ? 'MemoryMax' : 'MemoryLimit';
      const share = cgroupV2 ? 'CPUWeight' : 'CPUShares';
      try {
        oci.write(['sleep', '1000'], (spec) => {
          inSlice(oci)(spec);
          linux(spec)['cgroupsPath'] = `${stem}-inner.slice:trial:${stem}`;
        });
        quiet(oci, 'create', '--bundle', oci.bundle, 'c');
        quiet(oci, 'start', 'c');
        const expected = {
          ActiveState: 'active',
          Slice: `${stem}-inner.slice`,
          Delegate: 'yes',
          TasksMax: '55',
          [memory]: String(64 << 20),
          [share]: control('cpu', cgroupV2 ? 'cpu.weight' : 'cpu.shares'),
          CPUQuotaPerSecUSec: '260ms',
          DevicePolicy: cgroupV2 ? 'auto' : 'strict',
          ControlGroup: dir,
        };
        const tried = 'mknod /tmp/tun c 10 200 2>/dev/null; (exec 3< /tmp/tun) 2>&1';
        const holds = (pids: string): void => {
          expect(shown(unit, ...Object.keys(expected))).toEqual({ ...expected, TasksMax: pids });
          expect(control('pids', 'pids.max')).toBe(pids);
          expect(control('memory', cgroupV2 ? 'memory.max' : 'memory.limit_in_bytes')).toBe(String(64 << 20));
          expect(control('systemd', 'cgroup.procs')).toBe(String(oci.document()['pid']));
          expect(ask(oci, 'exec', 'c', 'sh', '-c', tried).out).toMatch(/Operation not permitted/);
          expect(ask(oci, 'exec', 'c', 'sh', '-c', 'echo > /dev/null && echo written').out).toBe('written\n');
        };
        holds('55');
        reload();
        holds('55');
        quiet(oci, 'update', '--pids-limit', '66', 'c');
        reload();
        holds('66');
        quiet(oci, 'delete', '--force', 'c');
        until(() => shown(unit, 'ActiveState')['ActiveState'] === 'inactive', 'the end of the scope');
        expect(existsSync(join(root, dir))).toBe(false);
      } finally {
        ask(oci, 'delete', '--force', 'c');
        spawnSync('systemctl', ['stop', '--no-block', `${stem}-inner.slice`, `${stem}.slice`]);
      }
    });

    it('tells why systemd does not make a unit', () => {
      const oci = trial();
      oci.write(['true'], (spec) => {
        inSlice(oci)(spec);
        object(spec)['annotations'] = { 'org.systemd.property.NoSuchProperty': 'true' };
      });
      expect(ask(oci, 'run', '--bundle', oci.bundle, 'c')).toMatchObject({
        code: 1,
        err: expect.stringMatching(/error creating systemd unit trial-c.scope: .*NoSuchProperty/),
      });
      expect(oci.left()).toEqual([]);
    });
  });

  it.runIf(usable)('leaves nothing when systemd does not make the unit', async () => {
    await serving(async (oci, systemd, run) => {
      oci.write(['sleep', '100'], inSlice(oci));
      systemd.result = 'failed';
      expect(await run('create', '--bundle', oci.bundle, 'c')).toMatchObject({
        code: 1,
        err: expect.stringContaining('error creating systemd unit trial-c.scope: got failed'),
      });
      expect(oci.left()).toEqual([]);
    });
  });

  it.each([
    ['/a/path', 'expected cgroupsPath to be of format "slice:prefix:name" for systemd cgroups, got "/a/path" instead'],
    ['noslice:p:n', 'invalid slice name: noslice'],
    ['a--b.slice:p:n', 'invalid slice name: a--b.slice'],
    ['../x.slice:p:n', 'invalid slice name: ../x.slice'],
    ['system.slice:p:', 'invalid unit name'],
  ])('refuses the cgroupsPath %s', async (path, words) => {
    const oci = trial();
    oci.write(['true'], (spec) => (linux(spec)['cgroupsPath'] = path));
    expect(await call(oci, '/nosuch/bus', 'run', '--bundle', oci.bundle, 'c')).toMatchObject({
      code: 1,
      err: expect.stringContaining(words),
    });
  });

  it('says that systemd is not reached', async () => {
    const oci = trial();
    oci.write(['true'], inSlice(oci));
    expect(await call(oci, '/nosuch/bus', 'run', '--bundle', oci.bundle, 'c')).toMatchObject({
      code: 1,
      err: expect.stringContaining('connect to systemd at /nosuch/bus: no such file or directory'),
    });
    expect(oci.left()).toEqual([]);
  });

  it.runIf(existsSync(busDaemon))('speaks with a real bus, on which nobody is systemd', async () => {
    const oci = trial();
    const socket = join(oci.folder, 'bus.sock');
    const words = ['--session', '--nofork', '--nopidfile', `--address=unix:path=${socket}`];
    const bus = spawn(busDaemon, words, { stdio: 'ignore' });
    try {
      until(() => existsSync(socket), 'the bus');
      oci.write(['true'], inSlice(oci));
      const { code, err } = await call(oci, socket, 'run', '--bundle', oci.bundle, 'c');
      expect(code).toBe(1);
      expect(err).toContain('org.freedesktop.DBus.Error.');
    } finally {
      bus.kill('SIGKILL');
    }
  });
});
