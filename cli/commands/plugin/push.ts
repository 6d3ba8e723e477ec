import { BaseCommand } from '../../base-command.js';
import { path } from '../../client/client.js';
import { registryAuth } from '../../client/credentials.js';
import { parseReference, withDefaultTag } from '../../client/reference.js';
import { documents } from '../../client/stream.js';
import type { ProgressMessage } from '../../client/types.js';
import { showProgress } from '../../render/progress.js';

export default class Push extends BaseCommand {
  static override usage = 'PLUGIN[:TAG]';
  static override arity = { least: 1, most: 1 };
  static override flags = {};

  async run(): Promise<void> {
    const plugin = this.read(Push).args[0] as string;
    if (parseReference(plugin).digest !== undefined) throw new Error(`invalid name: ${plugin}`);
    const response = await this.client.open('POST', path`/plugins/${withDefaultTag(plugin)}/push`, {
      headers: { 'X-Registry-Auth': await registryAuth(this.configFolder, plugin) },
    });
    await showProgress(documents<ProgressMessage>(response.body), process.stdout);
  }
}
