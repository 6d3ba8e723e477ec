import { ExitError, print } from '../base-command.js';
import { type Client, filterQuery } from '../client/client.js';
import { flag } from '../flags.js';
import { humanSize } from '../render/units.js';
import { confirm } from '../terminal.js';

export const pruneFlags = {
  filter: flag.filter({ description: 'Only what meets a condition, such as until=24h' }),
  force: flag.boolean({ char: 'f', description: 'Do not ask' }),
};

export interface PruneAnswer {
  ContainersDeleted?: string[] | null;
  ImagesDeleted?: { Untagged?: string; Deleted?: string }[] | null;
  NetworksDeleted?: string[] | null;
  VolumesDeleted?: string[] | null;
  CachesDeleted?: string[] | null;
  SpaceReclaimed?: number;
}

/** Asks unless told not to. What the user does not want is no failure, as with Docker. */
export const agree = async (force: boolean, warning: string): Promise<void> => {
  if (force || (await confirm(`WARNING! ${warning}\nAre you sure you want to continue?`))) return;
  throw new ExitError(0);
};

export const prune = async (client: Client, kind: string, filters: readonly (readonly [string, string])[]): Promise<PruneAnswer> =>
  client.post<PruneAnswer>(`/${kind}/prune`, { query: { filters: filterQuery(filters) } });

/** The list of what is gone, under a heading, with an empty line after it; nothing when nothing is gone. */
export const printDeleted = (heading: string, names: readonly string[]): void => {
  if (names.length > 0) print(`${heading}\n${names.join('\n')}\n`);
};

export const deletedImages = (answer: PruneAnswer): string[] =>
  (answer.ImagesDeleted ?? []).map((each) => (each.Untagged ? `untagged: ${each.Untagged}` : `deleted: ${each.Deleted}`));

export const printReclaimed = (bytes: number): void => print(`Total reclaimed space: ${humanSize(bytes)}`);
