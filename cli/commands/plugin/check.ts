import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { checkPlugin, junit, plain, tap } from '@gantry/plugins/sdk/check/index.js';
import { BaseCommand } from '../../base-command.js';
import { flag } from '../../flags.js';
import { PluginProcess } from '../../plugin/child.js';

const forms = { plain, tap, junit } as const;

export default class Check extends BaseCommand {
  static override usage = 'SOCKET';
  static override arity = { least: 1, most: 1 };
  static override flags = {
    format: flag.string({ description: 'plain, tap or junit', initial: 'plain' }),
    output: flag.string({ char: 'o', description: 'Write the report to a file' }),
    run: flag.string({
      description: 'Start the plugin by this command, so that it can be killed in between (its socket is in PLUGIN_SOCKET)',
    }),
  };

  async run(): Promise<void> {
    const { flags, args } = this.read(Check);
    const socket = resolve(args[0] as string);
    if (!Object.hasOwn(forms, flags.format))
      throw new Error(`unknown format ${JSON.stringify(flags.format)}: plain, tap and junit are known`);
    const folder = mkdtempSync(join(tmpdir(), 'gantry-plugin-check-'));
    const plugin = flags.run === '' ? undefined : new PluginProcess(flags.run, socket, process.cwd());
    try {
      await plugin?.start();
      const results = await checkPlugin({
        socket,
        folder,
        ...(plugin && {
          restart: async () => {
            await plugin.kill('SIGKILL');
            await plugin.start();
          },
        }),
      });
      const report = forms[flags.format as keyof typeof forms](results);
      if (flags.output === '') process.stdout.write(report);
      else writeFileSync(flags.output, report);
      if (results.some(({ outcome }) => outcome === 'broken')) process.exitCode = 1;
    } finally {
      await plugin?.kill('SIGTERM');
      rmSync(folder, { recursive: true, force: true });
    }
  }
}
