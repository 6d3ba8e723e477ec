import { conflict, invalid, messageOf, EngineError } from '../contracts/errors.js';
import type { Container, HostConfig, Resources, RestartPolicy } from './container.js';
import { resolveBlockDevices, resolveDevices } from './devices.js';
import { setPorts } from './ports.js';
import type { ContainerRoom } from './room.js';
import { limitedDevices, ociResources } from './spec-resources.js';
import type { Supervision } from './supervision.js';
import { validateResources, validateRestartPolicy } from './validate.js';

interface ContainerChange {
  resources: Partial<Resources>;
  restartPolicy?: RestartPolicy;
  portBindings?: HostConfig['portBindings'];
}

/** Changes limits and published ports, at once for a running container, and the restart policy. The caller holds the lock. */
export async function updateContainer(
  room: ContainerRoom,
  supervision: Supervision,
  container: Container,
  change: ContainerChange,
): Promise<{ warnings: string[] }> {
  const { id, state, hostConfig } = container;
  if (state.status === 'removing' || state.status === 'dead')
    throw conflict(`Cannot update container ${id}: container is marked for removal and cannot be "update"`);
  if (change.restartPolicy) {
    validateRestartPolicy(change.restartPolicy);
    const restarts = change.restartPolicy.name !== '' && change.restartPolicy.name !== 'no';
    if (hostConfig.autoRemove && restarts) {
      throw conflict(`Cannot update container ${id}: Restart policy cannot be updated because AutoRemove is enabled for the container`);
    }
  }
  const updated = merge(id, hostConfig, change);
  const warnings = validateResources(updated, room.facts, true);
  // Ports first: they fail where somebody else has one, and are taken back when the rest fails.
  if (change.portBindings) await setPorts(room, container, change.portBindings);
  const live = room.live.get(id);
  if (live && Object.keys(change.resources).length > 0) {
    const blocks = await resolveBlockDevices(room.host, limitedDevices(updated));
    const touched = change.resources.devices !== undefined || change.resources.deviceCgroupRules !== undefined;
    const rules = touched ? (await resolveDevices(room.host, updated)).rules : undefined;
    const resources = ociResources(updated, room.facts, rules, blocks);
    try {
      await live.task.update(resources as unknown as Readonly<Record<string, unknown>>);
    } catch (error) {
      if (change.portBindings) await setPorts(room, { ...container, hostConfig: updated }, hostConfig.portBindings);
      throw new EngineError('system', `Cannot update container ${id}: ${messageOf(error)}`, { cause: error });
    }
  }
  const record = room.store.update(id, () => ({ hostConfig: updated }));
  if (change.restartPolicy && state.status === 'restarting') {
    const name = change.restartPolicy.name;
    if (name === '' || name === 'no') supervision.cancelRestart(id);
  }
  room.publish(record ?? container, 'update');
  return { warnings };
}

/** What a request names replaces what was; 0 and '' mean "leave it", as clients send them for everything they do not set. */
function merge(id: string, old: HostConfig, change: ContainerChange): HostConfig {
  const given = Object.fromEntries(
    Object.entries(change.resources).filter(
      ([, value]) => value !== undefined && value !== 0 && value !== '' && !(Array.isArray(value) && value.length === 0),
    ),
  ) as Partial<Resources>;
  const refuse = (why: string): never => {
    throw conflict(`Cannot update container ${id}: ${why}`);
  };
  if (given.memory !== undefined && given.memorySwap === undefined && old.memorySwap > 0 && given.memory > old.memorySwap) {
    refuse('Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time');
  }
  if (given.nanoCpus !== undefined && (old.cpuPeriod > 0 || old.cpuQuota > 0)) {
    refuse(`Conflicting options: Nano CPUs cannot be updated as CPU ${old.cpuPeriod > 0 ? 'Period' : 'Quota'} has already been set`);
  }
  if ((given.cpuPeriod !== undefined || given.cpuQuota !== undefined) && old.nanoCpus > 0) {
    refuse(
      `Conflicting options: CPU ${given.cpuPeriod !== undefined ? 'Period' : 'Quota'} cannot be updated as NanoCPUs has already been set`,
    );
  }
  if (given.memory !== undefined && given.memory < 0) throw invalid('Minimum memory limit allowed is 6MB');
  const policy = change.restartPolicy;
  return {
    ...old,
    ...given,
    ...(policy && policy.name !== '' ? { restartPolicy: policy } : {}),
    ...(change.portBindings ? { portBindings: change.portBindings } : {}),
  };
}
