import { BaseCommand, print } from '../../base-command.js';
import { flag } from '../../flags.js';
import { labelEntry, readLabels } from '../../run/key-values.js';

export default class Create extends BaseCommand {
  static override usage = '[VOLUME]';
  static override arity = { least: 0, most: 1 };
  static override flags = {
    driver: flag.string({ char: 'd', description: 'Volume driver', initial: 'local' }),
    label: flag.list({ description: 'Set a label', check: labelEntry }),
    name: flag.string({ description: 'Name of the volume', hidden: true }),
    opt: flag.map({ char: 'o', description: 'Option of the volume driver' }),
  };

  async run(): Promise<void> {
    const { flags, args } = this.read(Create);
    if (flags.name !== '' && args.length > 0)
      throw new Error('conflicting options: cannot specify a volume-name through both --name and as a positional arg');
    const { Name } = await this.client.post<{ Name: string }>('/volumes/create', {
      body: { Name: args[0] ?? flags.name, Driver: flags.driver, DriverOpts: flags.opt, Labels: readLabels([], flags.label) },
    });
    print(Name);
  }
}
