import { spawn } from 'node:child_process';
import { BaseCommand } from '../../base-command.js';
import { enginePath } from '../../client/autostart.js';
import { flag } from '../../flags.js';

export default class Serve extends BaseCommand {
  static override usage = 'KIND/NAME';
  static override arity = { least: 1, most: 1 };
  static override flags = {
    socket: flag.string({ description: 'Where engines find it (/run/docker/plugins/NAME.sock unless told)' }),
    'data-root': flag.string({ description: "Folder of the driver's state (/var/lib/gantry-served unless told)" }),
    'exec-root': flag.string({ description: "Folder of the driver's run-time state (/run/gantry-served unless told)" }),
    opt: flag.list({ description: 'Option of the driver, NAME=VALUE' }),
  };

  async run(): Promise<void> {
    const { flags, args } = this.read(Serve);
    const words = [
      'serve-driver',
      args[0] as string,
      ...(flags.socket ? ['--socket', flags.socket] : []),
      ...(flags['data-root'] ? ['--data-root', flags['data-root']] : []),
      ...(flags['exec-root'] ? ['--exec-root', flags['exec-root']] : []),
      ...flags.opt.flatMap((option) => ['--opt', option]),
    ];
    // Drivers are the engine's: its program serves them.
    const child = spawn(enginePath(), words, { stdio: 'inherit' });
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill(signal));
    process.exitCode = await new Promise<number>((done, fail) => {
      child.once('error', fail);
      child.once('exit', (code) => done(code ?? 1));
    });
  }
}
