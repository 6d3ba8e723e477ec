import { BaseCommand } from '../../base-command.js';
import { flag } from '../../flags.js';
import { copyIn } from '../../run/copy-in.js';
import { copyOut } from '../../run/copy-out.js';

export default class Cp extends BaseCommand {
  static override usage = ['CONTAINER:SRC_PATH DEST_PATH|-', 'SRC_PATH|- CONTAINER:DEST_PATH'];
  static override description =
    "'-' as the source reads a tar archive from STDIN and unpacks it into a directory of the container.\n'-' as the destination writes what is copied to STDOUT as a tar archive.";
  static override arity = { least: 2, most: 2 };
  static override flags = {
    archive: flag.boolean({ char: 'a', description: 'Keep the owners of files' }),
    'follow-link': flag.boolean({ char: 'L', description: 'Follow a symbolic link at SRC_PATH' }),
    quiet: flag.boolean({ char: 'q', description: 'Say nothing of how it went' }),
  };

  async run(): Promise<void> {
    const { flags, args } = this.read(Cp);
    const [source, target] = args as [string, string];
    if (source === '') throw new Error('source can not be empty');
    if (target === '') throw new Error('destination can not be empty');
    const from = splitContainer(source);
    const to = splitContainer(target);
    const options = { archive: flags.archive, followLink: flags['follow-link'], quiet: flags.quiet || !process.stderr.isTTY };
    if (from && to) throw new Error('copying between containers is not supported');
    if (from) await copyOut(this.client, from.container, from.path, target, options);
    else if (to) await copyIn(this.client, source, to.container, to.path, options);
    else throw new Error('must specify at least one container source');
  }
}

/** A name before a colon is a container's, unless a slash or a dot says that the whole is a path of this machine. */
const splitContainer = (text: string): { container: string; path: string } | undefined => {
  if (text.startsWith('/') || text.startsWith('.') || text === '-') return undefined;
  const at = text.indexOf(':');
  return at <= 0 ? undefined : { container: text.slice(0, at), path: text.slice(at + 1) };
};
