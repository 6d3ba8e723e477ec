import { BaseCommand } from '../../base-command.js';
import { path } from '../../client/client.js';
import { parseReference } from '../../client/reference.js';

export default class Tag extends BaseCommand {
  static override usage = 'SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]';
  static override arity = { least: 2, most: 2 };
  static override flags = {};

  async run(): Promise<void> {
    const [source, target] = this.read(Tag).args as [string, string];
    let reference;
    try {
      reference = parseReference(target);
    } catch (error) {
      throw new Error(`Error parsing reference: ${JSON.stringify(target)} is not a valid repository/tag: ${(error as Error).message}`);
    }
    if (reference.digest !== undefined) throw new Error('refusing to create a tag with a digest reference');
    await this.client.post(path`/images/${source}/tag`, { query: { repo: reference.name, tag: reference.tag ?? 'latest' } });
  }
}
