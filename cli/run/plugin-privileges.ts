import { ExitError, print } from '../base-command.js';
import type { Client } from '../client/client.js';
import { confirm } from '../terminal.js';

export interface Privilege {
  Name: string;
  Description: string;
  Value: string[] | null;
}

/** What a plugin asks for, agreed to by the user or by `granted`. Nothing asked for is nothing to ask. */
export const agreedPrivileges = async (
  client: Client,
  remote: string,
  headers: Record<string, string>,
  granted: boolean,
): Promise<Privilege[]> => {
  const response = await client.json<Privilege[] | null>('GET', '/plugins/privileges', { query: { remote }, headers });
  const wanted = response ?? [];
  if (wanted.length === 0 || granted) return wanted;
  print(`Plugin "${remote}" is requesting the following privileges:`);
  for (const { Name, Value } of wanted) print(` - ${Name}: [${(Value ?? []).join(' ')}]`);
  if (!(await confirm('Do you grant the above permissions?'))) throw new ExitError(1);
  return wanted;
};
