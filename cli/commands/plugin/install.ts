import { BaseCommand, print } from '../../base-command.js';
import { path } from '../../client/client.js';
import { registryAuth } from '../../client/credentials.js';
import { withDefaultTag } from '../../client/reference.js';
import { documents } from '../../client/stream.js';
import type { ProgressMessage } from '../../client/types.js';
import { flag } from '../../flags.js';
import { showProgress } from '../../render/progress.js';
import { agreedPrivileges } from '../../run/plugin-privileges.js';

export default class Install extends BaseCommand {
  static override usage = 'PLUGIN [KEY=VALUE...]';
  static override arity = { least: 1 };
  static override flags = {
    alias: flag.string({ description: 'Name of the plugin here' }),
    disable: flag.boolean({ description: 'Do not start it' }),
    'grant-all-permissions': flag.boolean({ description: 'Do not ask whether it may have what it wants' }),
  };

  async run(): Promise<void> {
    const { flags, args } = this.read(Install);
    const [remote, ...settings] = args as [string, ...string[]];
    const headers = { 'X-Registry-Auth': await registryAuth(this.configFolder, remote) };
    const body = await agreedPrivileges(this.client, withDefaultTag(remote), headers, flags['grant-all-permissions']);
    const name = withDefaultTag(flags.alias || remote);
    const response = await this.client.open('POST', '/plugins/pull', { query: { remote: withDefaultTag(remote), name }, headers, body });
    await showProgress(documents<ProgressMessage>(response.body), process.stdout);
    if (settings.length > 0) await this.client.post(path`/plugins/${name}/set`, { body: settings });
    if (!flags.disable) await this.client.post(path`/plugins/${name}/enable`, { query: { timeout: 0 } });
    print(`Installed plugin ${remote}`);
  }
}
