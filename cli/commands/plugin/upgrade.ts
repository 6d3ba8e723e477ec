import { BaseCommand, print } from '../../base-command.js';
import { path } from '../../client/client.js';
import { registryAuth } from '../../client/credentials.js';
import { withDefaultTag } from '../../client/reference.js';
import { documents } from '../../client/stream.js';
import type { ProgressMessage } from '../../client/types.js';
import { flag } from '../../flags.js';
import { showProgress } from '../../render/progress.js';
import { agreedPrivileges } from '../../run/plugin-privileges.js';

export default class Upgrade extends BaseCommand {
  static override usage = 'PLUGIN [REMOTE]';
  static override arity = { least: 1, most: 2 };
  static override flags = {
    'grant-all-permissions': flag.boolean({ description: 'Do not ask whether it may have what it wants' }),
  };

  async run(): Promise<void> {
    const { flags, args } = this.read(Upgrade);
    const [plugin, given] = args as [string, string?];
    const { Name, PluginReference } = await this.client.get<{ Name: string; PluginReference: string }>(path`/plugins/${plugin}/json`);
    const remote = given === undefined ? PluginReference || Name : withDefaultTag(given);
    const headers = { 'X-Registry-Auth': await registryAuth(this.configFolder, remote) };
    const body = await agreedPrivileges(this.client, remote, headers, flags['grant-all-permissions']);
    const response = await this.client.open('POST', path`/plugins/${Name}/upgrade`, { query: { remote }, headers, body });
    await showProgress(documents<ProgressMessage>(response.body), process.stdout);
    print(`Upgraded plugin ${plugin} to ${remote}`);
  }
}
