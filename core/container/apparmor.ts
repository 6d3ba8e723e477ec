import { access, readFile } from 'node:fs/promises';
import type { HostProcess } from '../contracts/host-process.js';
import type { HostConfig } from './container.js';
import type { HostFacts } from './host-facts.js';
import { parseSecurityOptions } from './security-options.js';

/** The profile of a container for which nobody asks for another. */
export const DEFAULT_APPARMOR_PROFILE = 'gantry-default';

const PARSERS = ['/usr/sbin/apparmor_parser', '/sbin/apparmor_parser'];
const LOADED = '/sys/kernel/security/apparmor/profiles';
const LOAD_MS = 30_000;

/**
 * Files and networks are a container's own affair. What is not is the kernel's: its settings below /proc and /sys, mounts,
 * other people's processes, and AF_ALG, which reaches a great deal of the kernel for little use.
 */
export const defaultAppArmorProfile = (): string => `#include <tunables/global>

profile ${DEFAULT_APPARMOR_PROFILE} flags=(attach_disconnected,mediate_deleted) {
  #include <abstractions/base>

  network,
  deny network alg,
  capability,
  file,
  umount,

  # Who runs containers stops them, and they have themselves to see to.
  signal (receive) peer=unconfined,
  signal (send,receive) peer=${DEFAULT_APPARMOR_PROFILE},
  ptrace (trace,read,tracedby,readby) peer=${DEFAULT_APPARMOR_PROFILE},

  deny mount,
  deny @{PROC}/* w,
  deny @{PROC}/{acpi,asound,bus,driver,dynamic_debug,fs,irq,pressure,scsi,tty}/** w,
  deny @{PROC}/sys/{abi,crypto,debug,dev,fs,fscache,sunrpc,user,vm}/** w,
  # Of kernel/ only what belongs to an IPC namespace: msg*, sem*, shm*.
  deny @{PROC}/sys/kernel/[^ms]** w,
  deny @{PROC}/sys/kernel/m[^s]** w,
  deny @{PROC}/sys/kernel/s[^eh]** w,
  deny @{PROC}/sys/kernel/seccomp/** w,
  deny @{PROC}/{sysrq-trigger,kcore} rwklx,

  deny /sys/{block,bus,class,dev,devices,hypervisor,kernel,module,power}/** wklx,
  deny /sys/fs/[^c]** wklx,
  deny /sys/{firmware,kernel/security,devices/virtual/powercap}/** rwklx,
}
`;

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );

/**
 * Loads the default profile into a kernel that has AppArmor, once for each start of the daemon. Resolves to what went wrong; with
 * the profile in the kernel from before, nothing did.
 */
export async function loadDefaultAppArmorProfile(host: HostProcess): Promise<string | undefined> {
  let failure = 'apparmor_parser is not installed';
  for (const path of PARSERS) {
    if (!(await exists(path))) continue;
    const { code, stderr } = await host.run({
      path,
      args: [path, '--skip-cache', '--replace'],
      env: ['PATH=/usr/sbin:/usr/bin:/sbin:/bin'],
      input: Buffer.from(defaultAppArmorProfile()),
      timeoutMs: LOAD_MS,
    });
    if (code === 0) return undefined;
    failure = stderr.toString('utf8').trim();
    break;
  }
  const loaded = await readFile(LOADED, 'utf8').catch(() => '');
  return loaded.startsWith(`${DEFAULT_APPARMOR_PROFILE} (`) || loaded.includes(`\n${DEFAULT_APPARMOR_PROFILE} (`) ? undefined : failure;
}

/**
 * The profile of a container's processes: what its user named, which stays whatever privileges come beside it, or `implied` for
 * one without all privileges. '' where the kernel has no AppArmor, `unconfined` for none.
 */
export function apparmorProfileOf(
  hostConfig: Pick<HostConfig, 'securityOpt' | 'privileged'>,
  facts: Pick<HostFacts, 'apparmor'>,
  implied: string,
): string {
  if (!facts.apparmor) return '';
  return parseSecurityOptions(hostConfig.securityOpt).apparmor || (hostConfig.privileged ? 'unconfined' : implied);
}
