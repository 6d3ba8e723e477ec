import { BaseCommand, forEachName, warn } from '../../base-command.js';
import { path } from '../../client/client.js';
import { flag } from '../../flags.js';
import type { Resources } from '../../run/body.js';
import { parseRestartPolicy } from '../../run/limits.js';
import { containerFlags } from '../../run-flags.js';

export default class Update extends BaseCommand {
  static override usage = 'CONTAINER [CONTAINER...]';
  static override arity = { least: 1 };
  static override flags = {
    'blkio-weight': containerFlags['blkio-weight'],
    'cpu-period': containerFlags['cpu-period'],
    'cpu-quota': containerFlags['cpu-quota'],
    'cpu-rt-period': containerFlags['cpu-rt-period'],
    'cpu-rt-runtime': containerFlags['cpu-rt-runtime'],
    'cpu-shares': containerFlags['cpu-shares'],
    cpus: containerFlags.cpus,
    'cpuset-cpus': containerFlags['cpuset-cpus'],
    'cpuset-mems': containerFlags['cpuset-mems'],
    memory: containerFlags.memory,
    'memory-reservation': containerFlags['memory-reservation'],
    'memory-swap': containerFlags['memory-swap'],
    'pids-limit': containerFlags['pids-limit'],
    restart: flag.string({ description: 'What to do when the container exits' }),
  };

  async run(): Promise<void> {
    const { flags, args, given } = this.read(Update);
    if (given.size === 0) throw new Error('you must provide one or more flags when using this command');
    const resources: Resources = {
      BlkioWeight: flags['blkio-weight'],
      CpuShares: flags['cpu-shares'],
      Memory: flags.memory,
      MemoryReservation: flags['memory-reservation'],
      MemorySwap: flags['memory-swap'],
      CpuPeriod: flags['cpu-period'],
      CpuQuota: flags['cpu-quota'],
      CpuRealtimePeriod: flags['cpu-rt-period'],
      CpuRealtimeRuntime: flags['cpu-rt-runtime'],
      NanoCpus: flags.cpus,
      CpusetCpus: flags['cpuset-cpus'],
      CpusetMems: flags['cpuset-mems'],
      PidsLimit: given.has('pids-limit') ? flags['pids-limit'] : undefined,
    };
    const body = { ...resources, RestartPolicy: flags.restart === '' ? {} : parseRestartPolicy(flags.restart) };
    const warnings: string[] = [];
    await forEachName(args, async (name) => {
      const answer = await this.client.post<{ Warnings: string[] | null }>(path`/containers/${name}/update`, { body });
      warnings.push(...(answer?.Warnings ?? []));
      return name;
    });
    for (const warning of warnings) warn(warning);
  }
}
