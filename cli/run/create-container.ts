import { existsSync, writeFileSync } from 'node:fs';
import { CommandError, warn } from '../base-command.js';
import { ApiError, type Client, compareVersions } from '../client/client.js';
import { pullImage } from '../client/pull.js';
import { withDefaultTag } from '../client/reference.js';
import type { CreateAnswer } from '../client/types.js';
import type { ContainerFlags } from '../run-flags.js';
import type { CreateBody } from './body.js';

/**
 * Makes the container, fetching its image when the flags say so; progress goes to stderr because stdout is for the id.
 *
 * @returns the container's id
 */
export const createContainer = async (client: Client, configFolder: string, flags: ContainerFlags, body: CreateBody): Promise<string> => {
  const { cidfile, pull } = flags;
  if (cidfile !== '' && existsSync(cidfile)) {
    throw new CommandError(`container ID file found, make sure the other container isn't running or delete ${cidfile}`, 125, true);
  }
  const fetch = async (): Promise<void> =>
    pullImage(
      client,
      configFolder,
      body.Image,
      { platform: flags.platform, storageDriver: flags['storage-driver'], quiet: flags.quiet },
      process.stderr,
    );
  await fitVersion(client, body);
  const create = async (): Promise<CreateAnswer> =>
    client.post<CreateAnswer>('/containers/create', {
      query: { name: flags.name || undefined, platform: flags.platform || undefined },
      body,
    });

  if (pull === 'always') await fetch();
  let answer: CreateAnswer;
  try {
    answer = await create();
  } catch (error) {
    const absent = error instanceof ApiError && error.status === 404 && /no such image/i.test(error.reason);
    if (!absent || pull !== 'missing') throw error;
    if (!flags.quiet) warn(`Unable to find image '${withDefaultTag(body.Image)}' locally`);
    await fetch();
    answer = await create();
  }
  for (const warning of answer.Warnings ?? []) warn(`WARNING: ${warning}`);
  if (cidfile !== '') {
    try {
      writeFileSync(cidfile, answer.Id, { flag: 'wx' });
    } catch (error) {
      throw new CommandError(`failed to create the container ID file: ${(error as Error).message}`, 125, true);
    }
  }
  return answer.Id;
};

/** Since 1.44 an address belongs to an endpoint; before, the container had one. */
const fitVersion = async (client: Client, body: CreateBody): Promise<void> => {
  if (body.HostConfig.KernelMemory && compareVersions(await client.version(), '1.42') >= 0) {
    warn('WARNING: --kernel-memory has no effect: kernels no longer have this limit');
    delete body.HostConfig.KernelMemory;
  }
  if (compareVersions(await client.version(), '1.44') >= 0) delete body.MacAddress;
  else for (const settings of Object.values(body.NetworkingConfig.EndpointsConfig)) delete settings.MacAddress;
};

export const checkPullPolicy = (policy: string): void => {
  if (!['always', 'missing', 'never'].includes(policy)) {
    throw new CommandError(`invalid pull option: '${policy}': must be one of "always", "missing" or "never"`, 125, true);
  }
};

/** The exit code that tells a script why a container did not start. */
export const startExitCode = (message: string): number => {
  if (/executable file not found|no such file or directory|system cannot find the file specified/.test(message)) return 127;
  if (/permission denied|is a directory/.test(message)) return 126;
  return 125;
};
