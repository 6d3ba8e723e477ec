import { BaseCommand, print } from '../../base-command.js';
import { pullImage } from '../../client/pull.js';
import { parseReference, withDefaultTag } from '../../client/reference.js';
import { flag } from '../../flags.js';

export default class Pull extends BaseCommand {
  static override usage = 'NAME[:TAG|@DIGEST]';
  static override arity = { least: 1, most: 1 };
  static override flags = {
    'all-tags': flag.boolean({ char: 'a', description: 'Fetch every tag of the repository' }),
    platform: flag.string({ description: 'Platform of the image (os[/arch[/variant]])' }),
    quiet: flag.boolean({ char: 'q', description: 'Print the name only' }),
    'storage-driver': flag.string({ description: "Unpack for this storage driver now (Gantry's own)" }),
  };

  async run(): Promise<void> {
    const { flags, args } = this.read(Pull);
    const image = args[0] as string;
    const { name, tag, digest } = parseReference(image);
    if (flags['all-tags'] && (tag !== undefined || digest !== undefined)) throw new Error("tag can't be used with --all-tags/-a");
    const defaulted = !flags['all-tags'] && tag === undefined && digest === undefined;
    if (defaulted && !flags.quiet) print('Using default tag: latest');
    await pullImage(
      this.client,
      this.configFolder,
      image,
      { platform: flags.platform, storageDriver: flags['storage-driver'], all: flags['all-tags'], quiet: flags.quiet },
      process.stdout,
    );
    print(fullName(name, flags['all-tags'] ? name : withDefaultTag(image)));
  }
}

/** With the host of Docker Hub, under which the engine keeps it. */
const fullName = (name: string, shown: string): string => {
  if (/^[^/]*[.:][^/]*\/|^localhost\//.test(name)) return shown;
  return `docker.io/${name.includes('/') ? '' : 'library/'}${shown}`;
};
