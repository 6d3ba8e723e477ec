import { BaseCommand, CommandError, print } from '../../base-command.js';
import { createBody } from '../../run/create-body.js';
import { checkPullPolicy, createContainer } from '../../run/create-container.js';
import { containerFlags } from '../../run-flags.js';
import { usage } from './run.js';

export default class Create extends BaseCommand {
  static override usage = 'IMAGE [COMMAND] [ARG...]';
  static override arity = { least: 1 };
  static override interspersed = false;
  static override flags = containerFlags;

  async run(): Promise<void> {
    const { flags, args, given } = this.read(Create);
    const [image, ...command] = args as [string, ...string[]];
    checkPullPolicy(flags.pull);
    const body = usage(() => createBody(flags, given, image, command));
    try {
      print(await createContainer(this.client, this.configFolder, flags, body));
    } catch (error) {
      if (error instanceof CommandError) throw new CommandError(error.message, 1);
      throw error;
    }
  }
}
