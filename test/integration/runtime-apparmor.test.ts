import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { DEFAULT_APPARMOR_PROFILE, loadDefaultAppArmorProfile } from '../../core/container/apparmor.js';
import { process as hostProcess } from '../../native/process.js';
import { all, describeOci, linux, list, object, processOf, type Change } from './oci-trial.js';

const enabled = ((): boolean => {
  try {
    return readFileSync('/sys/module/apparmor/parameters/enabled', 'utf8').startsWith('Y');
  } catch {
    return false;
  }
})();
if (!enabled) console.log('skipped: AppArmor profiles need a kernel that has them');

const confined =
  (profile: string): Change =>
  (spec) =>
    (processOf(spec)['apparmorProfile'] = profile);
/** All privileges, so that whatever is refused is refused by the profile. */
const privileged: Change = (spec) => {
  const capabilities = ['CAP_SYS_ADMIN', 'CAP_DAC_OVERRIDE', 'CAP_SYS_PTRACE', 'CAP_NET_ADMIN'];
  processOf(spec)['capabilities'] = { bounding: capabilities, effective: capabilities, permitted: capabilities };
  Object.assign(linux(spec), { maskedPaths: [], readonlyPaths: [] });
  for (const mount of list(spec['mounts'])) {
    if (mount['type'] === 'sysfs') mount['options'] = ['nosuid', 'noexec', 'nodev'];
  }
};

describeOci('AppArmor', (trial) => {
  it.runIf(enabled)('confines a container and its execs by the default profile', async () => {
    expect(await loadDefaultAppArmorProfile(hostProcess)).toBeUndefined();
    const oci = trial();
    oci.start(['sleep', '100'], confined(DEFAULT_APPARMOR_PROFILE));
    const label = `${DEFAULT_APPARMOR_PROFILE} (enforce)`;
    expect(oci.call('exec', 'c', 'cat', '/proc/1/attr/current', '/proc/self/attr/current').out.trim().split('\n')).toEqual([label, label]);
    expect(oci.call('exec', '--apparmor', 'nosuch-profile', 'c', 'true').err).toMatch(/attr\/.*exec/);
  });

  it.runIf(enabled)(
    'lets the default profile refuse the settings of the host and mounts, but not files, networks and signals',
    async () => {
      expect(await loadDefaultAppArmorProfile(hostProcess)).toBeUndefined();
      const script = [
        'echo > /tmp/f && echo files',
        'ip addr show lo | grep -c 127.0.0.1',
        '(sleep 9 & kill $!) && echo signals',
        'mount -t tmpfs x /tmp',
        'echo 0 > /proc/sys/kernel/randomize_va_space',
        'echo 1 > /proc/sys/vm/overcommit_memory',
        'echo h > /proc/sysrq-trigger',
        'echo 1 > /sys/kernel/mm/ksm/run',
        'cat /proc/kcore | head -c1',
      ].join('\n');
      const { out, err } = trial().run(script, all(privileged, confined(DEFAULT_APPARMOR_PROFILE)));
      expect(out).toBe('files\n1\nsignals\n');
      expect(err.trim().split('\n')).toHaveLength(6);
      expect(err.match(/ermission denied/g)).toHaveLength(6);
      // The same without the profile is allowed, or this test would prove nothing.
      expect(trial().run('mount -t tmpfs x /tmp && echo mounted', privileged).out).toBe('mounted\n');
    },
  );

  it.runIf(enabled)('reports a profile that is not loaded', () => {
    expect(trial().run('true', confined('nosuch-profile'))).toMatchObject({
      code: 1,
      err: expect.stringMatching(/attr\/.*exec.*no such file/),
    });
  });

  it.runIf(!enabled)('refuses a profile where the kernel has none', () => {
    const { code, err } = trial().run('true', confined('gantry-default'));
    expect(code).toBe(1);
    expect(err).toContain('apparmor is not enabled on this host: gantry-default');
    expect(trial().run('true', (spec) => (object(spec['process'])['selinuxLabel'] = 'system_u:system_r:t:s0')).err).toMatch(/selinux/);
  });

  it.runIf(enabled)('leaves the profile to the kernel only', () => {
    expect(
      spawnSync('grep', ['-c', DEFAULT_APPARMOR_PROFILE, '/sys/kernel/security/apparmor/profiles'], { encoding: 'utf8' }).stdout.trim(),
    ).toBe('1');
  });
});
