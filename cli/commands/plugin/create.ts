import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { BaseCommand, print } from '../../base-command.js';
import { flag } from '../../flags.js';

export default class Create extends BaseCommand {
  static override usage = 'PLUGIN FOLDER';
  static override arity = { least: 2, most: 2 };
  static override flags = { compress: flag.boolean({ description: 'Compress what is sent' }) };

  async run(): Promise<void> {
    const { flags, args } = this.read(Create);
    const [name, folder] = args as [string, string];
    for (const [part, isRight] of [
      ['config.json', 'isFile'],
      ['rootfs', 'isDirectory'],
    ] as const) {
      const found = await stat(join(folder, part)).catch(() => undefined);
      if (!found?.[isRight]()) throw new Error(`${folder} has no ${isRight === 'isFile' ? 'file' : 'folder'} ${part}`);
    }
    const { create } = await import('tar');
    const archive = create({ cwd: folder, gzip: flags.compress }, ['config.json', 'rootfs']);
    await this.client.post('/plugins/create', { query: { name }, body: archive, headers: { 'Content-Type': 'application/x-tar' } });
    print(name);
  }
}
