import { BaseCommand } from '../../base-command.js';
import { path, readAll } from '../../client/client.js';
import { openInput } from '../../client/input-file.js';

export default class Import extends BaseCommand {
  static override usage = 'VOLUME FILE|-';
  static override arity = { least: 2, most: 2 };
  static override flags = {};

  async run(): Promise<void> {
    const [volume, file] = this.read(Import).args as [string, string];
    const response = await this.client.open('PUT', path`/gantry/v1/volumes/${volume}/archive`, {
      body: await openInput(file),
      headers: { 'Content-Type': 'application/x-tar' },
    });
    await readAll(response);
  }
}
