import { invalid } from '../contracts/errors.js';
import { normalizeCapability } from './capabilities.js';
import type { ContainerConfig, Healthcheck, HostConfig, Resources, RestartPolicy } from './container.js';
import type { HostFacts } from './host-facts.js';
import { parseSecurityOptions } from './security-options.js';
import { parseSignal } from './signals.js';

const MEBIBYTE = 1 << 20;
/** Below this a container's first process does not even get to its exec. */
const MEMORY_MINIMUM = 6 * MEBIBYTE;

/** Checks everything in a request that needs no other object to judge. Texts are Docker's. */
export function validateConfig(config: ContainerConfig): void {
  for (const entry of config.env) {
    if (entry === '' || entry.startsWith('=')) throw invalid(`invalid environment variable: ${entry}`);
  }
  if (config.workingDir !== '' && !config.workingDir.startsWith('/')) {
    throw invalid(`the working directory '${config.workingDir}' is invalid, it needs to be an absolute path`);
  }
  if (config.stopSignal !== '') parseSignal(config.stopSignal);
  if (config.hostname.length > 64 || /[\0\n]/.test(config.hostname)) throw invalid(`invalid hostname format: ${config.hostname}`);
  for (const port of config.exposedPorts) checkPort(port);
  if (config.healthcheck) validateHealthcheck(config.healthcheck);
}

function checkPort(port: string): void {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?(?:\/(tcp|udp|sctp))?$/.exec(port);
  const [first, last] = [Number(match?.[1]), Number(match?.[2] ?? match?.[1])];
  if (!match || first > 65_535 || last > 65_535 || last < first) throw invalid(`invalid port specification: "${port}"`);
}

function validateHealthcheck(check: Healthcheck): void {
  const kind = check.test[0];
  if (kind !== undefined && kind !== '' && kind !== 'NONE' && kind !== 'CMD' && kind !== 'CMD-SHELL') {
    throw invalid(`Unknown type '${kind}' in HEALTHCHECK`);
  }
  const durations = [
    ['Interval', check.interval],
    ['Timeout', check.timeout],
    ['StartPeriod', check.startPeriod],
    ['StartInterval', check.startInterval],
  ] as const;
  for (const [name, value] of durations) {
    if (value !== 0 && value < 1_000_000) throw invalid(`${name} in Healthcheck cannot be less than 1ms`);
  }
  if (check.retries < 0) throw invalid('Retries in Healthcheck cannot be negative');
}

export function validateRestartPolicy(policy: RestartPolicy): void {
  switch (policy.name) {
    case '':
    case 'no':
    case 'always':
    case 'unless-stopped':
      if (policy.maximumRetryCount !== 0) {
        throw invalid(
          `invalid restart policy: maximum retry count can only be used with 'on-failure'${policy.maximumRetryCount < 0 ? ' and cannot be negative' : ''}`,
        );
      }
      return;
    case 'on-failure':
      if (policy.maximumRetryCount < 0) throw invalid('invalid restart policy: maximum retry count cannot be negative');
      return;
    default:
      throw invalid(
        `invalid restart policy: unknown policy '${String(policy.name)}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'`,
      );
  }
}

export function validatePortBindings(portBindings: HostConfig['portBindings']): void {
  for (const [port, bindings] of Object.entries(portBindings)) {
    checkPort(port);
    for (const binding of bindings) {
      const match = /^(?:(\d{1,5})(?:-(\d{1,5}))?)?$/.exec(binding.hostPort);
      if (!match || Number(match[1] ?? 0) > 65_535 || Number(match[2] ?? 0) > 65_535) {
        throw invalid(`invalid port specification: "${binding.hostPort}"`);
      }
    }
  }
}

/** The host's part of a request. Gives back warnings. */
export function validateHostConfig(config: ContainerConfig, host: HostConfig, facts: HostFacts): string[] {
  validateRestartPolicy(host.restartPolicy);
  if (host.autoRemove && host.restartPolicy.name !== '' && host.restartPolicy.name !== 'no') {
    throw invalid("can't create 'AutoRemove' container with restart policy");
  }
  if (host.oomScoreAdj < -1000 || host.oomScoreAdj > 1000) {
    throw invalid(`Invalid value ${host.oomScoreAdj}, range for oom score adj is [-1000, 1000]`);
  }
  if (host.shmSize < 0) throw invalid('SHM size can not be less than 0');
  for (const name of [...host.capAdd, ...host.capDrop]) normalizeCapability(name);
  parseSecurityOptions(host.securityOpt);
  validateModes(config, host);
  validatePortBindings(host.portBindings);
  for (const entry of host.extraHosts) {
    const separator = entry.search(/[:=]/);
    if (separator <= 0 || entry.length === separator + 1) throw invalid(`bad format for add-host: "${entry}"`);
  }
  for (const [name, value] of Object.entries(host.sysctls)) validateSysctl(name, value, host);
  for (const limit of host.ulimits) {
    if (!/^[a-z]+$/.test(limit.name)) throw invalid(`invalid ulimit type: ${limit.name}`);
    if (limit.hard !== -1 && (limit.soft > limit.hard || limit.soft === -1)) {
      throw invalid(`ulimit soft limit must be less than or equal to hard limit: ${limit.soft} > ${limit.hard}`);
    }
  }
  for (const device of host.devices) {
    if (!/^[rwm]{0,3}$/.test(device.cgroupPermissions)) throw invalid(`invalid device mode: ${device.cgroupPermissions}`);
  }
  for (const rule of host.deviceCgroupRules) {
    if (!/^[acb] (\d+|\*):(\d+|\*) [rwm]{1,3}$/.test(rule)) throw invalid(`invalid device cgroup rule format: '${rule}'`);
  }
  return validateResources(host, facts, false);
}

function validateModes(config: ContainerConfig, host: HostConfig): void {
  const { networkMode, ipcMode, pidMode, utsMode, cgroupnsMode, usernsMode } = host;
  if (networkMode.startsWith('container:') || networkMode === 'container') {
    if (networkMode === 'container' || networkMode === 'container:')
      throw invalid('Invalid network mode: invalid container format container:<name|id>');
    if (config.hostname !== '') throw invalid('conflicting options: hostname and the network mode');
    if (host.links.length > 0)
      throw invalid("conflicting options: container type network can't be used with links. This would result in undefined behavior");
    if (host.dns.length > 0) throw invalid('conflicting options: dns and the network mode');
    if (host.extraHosts.length > 0) throw invalid('conflicting options: custom host-to-IP mapping and the network mode');
    if (config.macAddress !== '') throw invalid('conflicting options: mac-address and the network mode');
    if (Object.keys(host.portBindings).length > 0 || host.publishAllPorts) {
      throw invalid('conflicting options: port publishing and the container type network mode');
    }
    if (config.exposedPorts.length > 0) throw invalid('conflicting options: port exposing and the container type network mode');
  }
  if (networkMode === 'host' && host.links.length > 0) {
    throw invalid("conflicting options: host type networking can't be used with links. This would result in undefined behavior");
  }
  if (utsMode !== '' && utsMode !== 'host') throw invalid(`invalid UTS mode: ${utsMode}`);
  if (utsMode === 'host' && config.hostname !== '') throw invalid('conflicting options: hostname and the UTS mode');
  if (!/^(|none|private|shareable|host|container:.+)$/.test(ipcMode)) throw invalid(`invalid IPC mode: ${ipcMode}`);
  if (!/^(|private|host|container:.+)$/.test(pidMode)) throw invalid(`invalid PID mode: ${pidMode}`);
  if (!/^(|private|host)$/.test(cgroupnsMode)) throw invalid(`invalid cgroup namespace mode: ${cgroupnsMode}`);
  if (!/^(|host)$/.test(usernsMode)) throw invalid(`invalid user namespace mode: ${usernsMode}`);
}

/** Only what a namespace of the container's own holds may be set. */
function validateSysctl(name: string, value: string, host: HostConfig): void {
  if (name === '' || /[\s\0]/.test(name) || value === '') throw invalid(`sysctl '${name}=${value}' is not allowed`);
  const normal = name.replaceAll('/', '.');
  if (normal.startsWith('net.')) {
    if (host.networkMode === 'host') throw invalid(`sysctl '${name}' not allowed in host network namespace`);
    return;
  }
  const ipc = [
    'kernel.msgmax',
    'kernel.msgmnb',
    'kernel.msgmni',
    'kernel.sem',
    'kernel.shmall',
    'kernel.shmmax',
    'kernel.shmmni',
    'kernel.shm_rmid_forced',
  ];
  if (ipc.includes(normal) || normal.startsWith('fs.mqueue.')) {
    if (host.ipcMode === 'host') throw invalid(`sysctl '${name}' not allowed in host ipc namespace`);
    return;
  }
  if (normal === 'kernel.domainname') {
    if (host.utsMode === 'host') throw invalid(`sysctl '${name}' not allowed in host uts namespace`);
    return;
  }
  throw invalid(`sysctl '${name}' is not whitelisted`);
}

/** Limits, at create and at update. Gives back warnings; what the kernel does not know is ignored with one. */
export function validateResources(r: Resources, facts: HostFacts, update: boolean): string[] {
  const warnings: string[] = [];
  if (r.memory !== 0 && r.memory < MEMORY_MINIMUM) throw invalid('Minimum memory limit allowed is 6MB');
  if (r.memory > 0 && r.memorySwap > 0 && r.memorySwap < r.memory) {
    throw invalid('Minimum memoryswap limit should be larger than memory limit, see usage');
  }
  if (r.memory === 0 && r.memorySwap > 0 && !update) {
    throw invalid('You should always set the Memory limit when using Memoryswap limit, see usage');
  }
  if (r.memorySwap < -1) throw invalid(`invalid memory swap limit: ${r.memorySwap}`);
  if (r.memorySwappiness !== undefined && r.memorySwappiness !== -1 && (r.memorySwappiness < 0 || r.memorySwappiness > 100)) {
    throw invalid(`Invalid value: ${r.memorySwappiness}, valid memory swappiness range is 0-100`);
  }
  if (r.memoryReservation !== 0 && r.memoryReservation < MEMORY_MINIMUM) throw invalid('Minimum memory reservation allowed is 6MB');
  if (r.memory > 0 && r.memoryReservation > 0 && r.memory < r.memoryReservation) {
    throw invalid('Minimum memory limit can not be less than memory reservation limit, see usage');
  }
  if (r.nanoCpus > 0 && r.cpuPeriod > 0) throw invalid('Conflicting options: Nano CPUs and CPU Period cannot both be set');
  if (r.nanoCpus > 0 && r.cpuQuota > 0) throw invalid('Conflicting options: Nano CPUs and CPU Quota cannot both be set');
  if (r.nanoCpus < 0 || r.nanoCpus > facts.cpus * 1e9) {
    throw invalid(`range of CPUs is from 0.01 to ${facts.cpus}.00, as there are only ${facts.cpus} CPUs available`);
  }
  if (r.cpuShares < 0) throw invalid(`invalid CPU shares (${r.cpuShares}): value must be a positive integer`);
  if (r.cpuPeriod !== 0 && (r.cpuPeriod < 1000 || r.cpuPeriod > 1_000_000)) {
    throw invalid('CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)');
  }
  if (r.cpuQuota > 0 && r.cpuQuota < 1000) throw invalid('CPU cfs quota can not be less than 1ms (i.e. 1000)');
  checkSet('cpus', r.cpusetCpus, facts.cpusetCpus);
  checkSet('mems', r.cpusetMems, facts.cpusetMems);
  if (r.blkioWeight !== 0 && (r.blkioWeight < 10 || r.blkioWeight > 1000)) throw invalid('Range of blkio weight is from 10 to 1000');
  for (const device of r.blkioWeightDevice) {
    if (device.weight < 10 || device.weight > 1000) throw invalid(`invalid weight for device: ${device.path}:${device.weight}`);
  }
  if (r.deviceRequests.length > 0) {
    throw invalid(
      `could not select device driver "${r.deviceRequests[0]?.driver ?? ''}" with capabilities: [${(r.deviceRequests[0]?.capabilities ?? []).map((all) => `[${all.join(' ')}]`).join(' ')}]`,
    );
  }
  if (r.memory > 0 && !facts.memoryLimit) {
    warnings.push('Your kernel does not support memory limit capabilities or the cgroup is not mounted. Limitation discarded.');
  }
  if (r.memory > 0 && r.memorySwap !== -1 && !facts.swapLimit) {
    warnings.push('Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without swap.');
  }
  if (r.memorySwappiness !== undefined && r.memorySwappiness !== -1 && facts.cgroupVersion === 2) {
    warnings.push('Your kernel does not support memory swappiness capabilities or the cgroup is not mounted. Memory swappiness discarded.');
  }
  if (r.oomKillDisable === true && !facts.oomKillDisable) {
    warnings.push('Your kernel does not support OomKillDisable. OomKillDisable discarded.');
  } else if (r.oomKillDisable === true && r.memory === 0) {
    warnings.push(
      'OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out of resources.',
    );
  }
  if (r.pidsLimit !== undefined && r.pidsLimit > 0 && !facts.pidsLimit) {
    warnings.push('Your kernel does not support PIDs limit capabilities or the cgroup is not mounted. PIDs limit discarded.');
  }
  if (r.blkioWeight > 0 && !facts.blkioWeight) {
    warnings.push('Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded.');
  }
  return warnings;
}

/** Numbers of a list such as `0-2,5`; `undefined` when it is none. */
export function parseSet(list: string): Set<number> | undefined {
  const result = new Set<number>();
  for (const part of list === '' ? [] : list.split(',')) {
    const match = /^(\d{1,6})(?:-(\d{1,6}))?$/.exec(part);
    if (!match) return undefined;
    const [first, last] = [Number(match[1]), Number(match[2] ?? match[1])];
    if (last < first || last > 8192) return undefined;
    for (let number = first; number <= last; number++) result.add(number);
  }
  return result;
}

function checkSet(what: 'cpus' | 'mems', asked: string, available: string): void {
  if (asked === '') return;
  const wanted = parseSet(asked);
  if (!wanted) throw invalid(`Invalid value ${asked} for cpuset ${what}`);
  const known = parseSet(available);
  if (!known || known.size === 0) return;
  if ([...wanted].some((number) => !known.has(number))) {
    const word = what === 'cpus' ? 'CPUs' : 'memory nodes';
    throw invalid(`Requested ${word} are not available - requested ${asked}, available: ${available}`);
  }
}
