import { BaseCommand, print } from '../../base-command.js';
import { parseReference } from '../../client/reference.js';
import { flag } from '../../flags.js';

export default class Commit extends BaseCommand {
  static override usage = 'CONTAINER [REPOSITORY[:TAG]]';
  static override arity = { least: 1, most: 2 };
  static override flags = {
    author: flag.string({ char: 'a', description: 'Author, such as "Jane <jane@example.org>"' }),
    change: flag.list({ char: 'c', description: 'Apply a Dockerfile instruction to the image' }),
    message: flag.string({ char: 'm', description: 'Message' }),
    pause: flag.boolean({ char: 'p', description: 'Pause the container meanwhile', initial: true }),
  };

  async run(): Promise<void> {
    const { flags, args } = this.read(Commit);
    const [container, name] = args as [string, string?];
    const reference = name === undefined ? undefined : parseReference(name);
    if (reference?.digest !== undefined) throw new Error('refusing to create a tag with a digest reference');
    const { Id } = await this.client.post<{ Id: string }>('/commit', {
      query: {
        container,
        repo: reference?.name,
        tag: reference ? (reference.tag ?? 'latest') : undefined,
        comment: flags.message || undefined,
        author: flags.author || undefined,
        changes: flags.change,
        pause: flags.pause,
      },
      body: {},
    });
    print(Id);
  }
}
