import { BaseCommand, forEachName } from '../../base-command.js';
import { exitCode } from './run.js';

export default class Wait extends BaseCommand {
  static override usage = 'CONTAINER [CONTAINER...]';
  static override arity = { least: 1 };
  static override flags = {};

  async run(): Promise<void> {
    const { args } = this.read(Wait);
    await forEachName(args, async (name) => String(await (await exitCode(this.client, name, 'not-running'))()));
  }
}
