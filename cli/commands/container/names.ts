import { type Arity, BaseCommand, forEachName } from '../../base-command.js';
import { type Client, path, type Query } from '../../client/client.js';

/** Commands that post one verb to each container and print its name. */
export abstract class VerbCommand extends BaseCommand {
  static override usage = 'CONTAINER [CONTAINER...]';
  static override arity: Arity = { least: 1 };

  protected async post(names: readonly string[], verb: string, query: Query = {}): Promise<void> {
    await forEachName(names, async (name) => {
      await postVerb(this.client, name, verb, query);
      return name;
    });
  }
}

/** A state that was reached already is what was asked for. */
export const postVerb = async (client: Client, name: string, verb: string, query: Query = {}): Promise<void> => {
  await client.post(path`/containers/${name}/${verb}`, { query });
};
