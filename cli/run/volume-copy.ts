import { print } from '../base-command.js';
import { type Client, path } from '../client/client.js';
import { flag } from '../flags.js';
import { labelEntry, readLabels } from './key-values.js';

export const copyFlags = {
  freeze: flag.boolean({ description: 'Freeze the containers that use the volume meanwhile' }),
  label: flag.list({ description: 'Set a label of the new volume', check: labelEntry }),
};

/** Makes one volume from another and prints its name. */
export const copyVolume = async (
  client: Client,
  verb: 'clone' | 'snapshot',
  [from, to]: readonly string[],
  flags: { freeze: boolean; label: string[] },
): Promise<void> => {
  const { Name } = await client.post<{ Name: string }>(path`/gantry/v1/volumes/${from as string}/${verb}`, {
    body: { Name: to, Labels: readLabels([], flags.label), Freeze: flags.freeze },
  });
  print(Name);
};
