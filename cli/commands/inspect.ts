import { BaseCommand } from '../base-command.js';
import { ApiError, path, type Query } from '../client/client.js';
import { flag } from '../flags.js';
import { inspectAll } from '../run/inspect.js';

/** Where each kind of object is found, in the order in which a name without a kind is looked for. */
const kinds: Record<string, (name: string) => string> = {
  container: (name) => path`/containers/${name}/json`,
  image: (name) => path`/images/${name}/json`,
  network: (name) => path`/networks/${name}`,
  volume: (name) => path`/volumes/${name}`,
  plugin: (name) => path`/plugins/${name}/json`,
};

export default class Inspect extends BaseCommand {
  static override usage = 'NAME|ID [NAME|ID...]';
  static override arity = { least: 1 };
  static override flags = {
    format: flag.string({ char: 'f', description: "'json', or a Go template" }),
    size: flag.boolean({ char: 's', description: 'Show the sizes of containers' }),
    type: flag.string({ description: `Only objects of this kind: ${Object.keys(kinds).join(', ')}` }),
  };

  async run(): Promise<void> {
    const { flags, args } = this.read(Inspect);
    const { type } = flags;
    if (type !== '' && !Object.hasOwn(kinds, type))
      throw new Error(`unknown type: ${JSON.stringify(type)}: must be one of ${Object.keys(kinds).join(', ')}`);
    const look = async (kind: string, name: string): Promise<string> => {
      const query: Query = flags.size && kind === 'container' ? { size: true } : {};
      return this.client.text('GET', (kinds[kind] as (name: string) => string)(name), { query });
    };
    await inspectAll(args, flags.format, async (name) => {
      if (type !== '') return look(type, name);
      for (const kind of Object.keys(kinds)) {
        try {
          return await look(kind, name);
        } catch (error) {
          // Absent, or a kind that this engine does not have: the next kind may know the name.
          if (!(error instanceof ApiError) || (error.status !== 404 && error.status !== 501)) throw error;
        }
      }
      throw new NoSuchObject(name);
    });
  }
}

class NoSuchObject extends ApiError {
  constructor(name: string) {
    super(404, '');
    this.message = `Error: No such object: ${name}`;
  }
}
