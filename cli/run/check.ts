import type { FindingAnswer } from '@gantry/core/api/gantry/schema.js';
import { ExitError, print } from '../base-command.js';
import type { Client } from '../client/client.js';
import { flag } from '../flags.js';
import { rowJson } from '../render/list.js';

export const checkFlags = {
  deep: flag.boolean({ description: 'Read every blob, and compare every layer with its blob' }),
  format: flag.string({ description: "'json' for one object on each line" }),
  repair: flag.boolean({ description: 'Mend what can be mended' }),
};

interface CheckFlags {
  deep: boolean;
  format: string;
  repair: boolean;
}

/** Prints what the engine found, one line for each. Ends with 1 when something is left as it should not be. */
export const check = async (client: Client, flags: CheckFlags, storageOnly: boolean): Promise<void> => {
  if (flags.format !== '' && flags.format !== 'json') throw new Error(`unknown format: ${JSON.stringify(flags.format)}`);
  const { Findings } = await client.post<{ Findings: FindingAnswer[] }>('/gantry/v1/check', {
    query: { deep: flags.deep, repair: flags.repair, storage: storageOnly },
  });
  for (const finding of Findings) print(flags.format === 'json' ? rowJson({ ...finding }) : line(finding));
  if (flags.format === '' && Findings.length === 0) print('Everything is as it should be.');
  if (Findings.some(({ State }) => State !== 'repaired')) throw new ExitError(1);
};

const line = ({ Area, Subject, Problem, Remedy, State, Error: error }: FindingAnswer): string => {
  const what = `${Area} ${Subject}: ${Problem}`;
  if (State === 'repaired') return `repaired  ${what} (${Remedy})`;
  if (State === 'failed') return `failed    ${what} (${Remedy}: ${error})`;
  return `found     ${what}${Remedy === '' ? '' : ` (--repair would: ${Remedy})`}`;
};
