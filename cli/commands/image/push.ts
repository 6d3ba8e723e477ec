import { BaseCommand, print } from '../../base-command.js';
import { path } from '../../client/client.js';
import { registryAuth } from '../../client/credentials.js';
import { parseReference } from '../../client/reference.js';
import { documents } from '../../client/stream.js';
import type { ProgressMessage } from '../../client/types.js';
import { flag } from '../../flags.js';
import { showProgress } from '../../render/progress.js';
import { platformObject } from './rm.js';

export default class Push extends BaseCommand {
  static override usage = 'NAME[:TAG]';
  static override arity = { least: 1, most: 1 };
  static override flags = {
    'all-tags': flag.boolean({ char: 'a', description: 'Send every tag of the repository' }),
    platform: flag.string({ description: 'Send only this platform (os[/arch[/variant]])' }),
    quiet: flag.boolean({ char: 'q', description: 'Print the name only' }),
  };

  async run(): Promise<void> {
    const { flags, args } = this.read(Push);
    const image = args[0] as string;
    const { name, tag, digest } = parseReference(image);
    if (digest !== undefined) throw new Error('cannot push a digest reference');
    if (flags['all-tags'] && tag !== undefined) throw new Error("tag can't be used with --all-tags/-a");
    if (!flags['all-tags'] && tag === undefined && !flags.quiet) print('Using default tag: latest');
    const response = await this.client.open('POST', path`/images/${name}/push`, {
      query: {
        tag: flags['all-tags'] ? undefined : (tag ?? 'latest'),
        platform: flags.platform === '' ? undefined : JSON.stringify(platformObject(flags.platform)),
      },
      headers: { 'X-Registry-Auth': await registryAuth(this.configFolder, image) },
    });
    await showProgress(documents<ProgressMessage>(response.body), flags.quiet ? { write: () => true } : process.stdout);
    if (flags.quiet) print(flags['all-tags'] ? name : `${name}:${tag ?? 'latest'}`);
  }
}
