import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, watch } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { BaseCommand, warn } from '../../base-command.js';
import { flag } from '../../flags.js';
import { PluginProcess } from '../../plugin/child.js';
import { Relay, type RelayedCall } from '../../plugin/relay.js';
import { printable } from '../../render/quote.js';

/** Files are often written in several steps. */
const SETTLE_MS = 150;

export default class Dev extends BaseCommand {
  static override usage = 'DIR';
  static override arity = { least: 1, most: 1 };
  static override flags = {
    run: flag.string({ description: 'Command that starts the plugin (the start script of package.json unless told)' }),
    socket: flag.string({ description: 'Where engines find it (/run/docker/plugins/DIR.sock unless told)' }),
  };

  async run(): Promise<void> {
    const { flags, args } = this.read(Dev);
    const folder = resolve(args[0] as string);
    const command = flags.run || startScript(folder);
    const socket = resolve(flags.socket || `/run/docker/plugins/${basename(folder)}.sock`);
    mkdirSync(dirname(socket), { recursive: true, mode: 0o755 });
    const scratch = mkdtempSync(join(tmpdir(), 'gantry-plugin-dev-'));
    const plugin = new PluginProcess(command, join(scratch, 'plugin.sock'), folder);
    const told = (call: RelayedCall): void => {
      const line = `${call.method}  ${call.status || 'no answer'}  ${call.ms} ms  ${call.request || '(empty)'}  ->  ${call.answer}`;
      process.stdout.write(`${printable(line)}\n`);
    };
    const start = (): Promise<void> =>
      plugin.start().catch((error: unknown) => warn(error instanceof Error ? error.message : String(error)));
    let started = start();
    const relay = new Relay(socket, plugin.socket, told, () => started);
    await relay.open();
    await started;
    warn(`${basename(folder)} listens on ${socket}; it starts again when a file changes`);
    const stop = restartOnChange(folder, async (file) => {
      warn(`${file} changed`);
      started = plugin.kill('SIGTERM').then(start);
      await started;
    });
    await new Promise((done) => {
      process.once('SIGINT', done);
      process.once('SIGTERM', done);
    });
    stop();
    await plugin.kill('SIGTERM');
    await relay.close();
    rmSync(scratch, { recursive: true, force: true });
  }
}

function startScript(folder: string): string {
  const file = join(folder, 'package.json');
  const scripts = existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as { scripts?: { start?: unknown } }).scripts : undefined;
  if (typeof scripts?.start === 'string') return scripts.start;
  throw new Error(`${folder} has no start script in a package.json: give the command with --run`);
}

function restartOnChange(folder: string, restart: (file: string) => Promise<void>): () => void {
  let timer: NodeJS.Timeout | undefined;
  let busy: Promise<void> = Promise.resolve();
  const watcher = watch(folder, { recursive: true }, (_event, file) => {
    if (file === null || /(^|\/)(node_modules|\.git|dist)(\/|$)/.test(file)) return;
    clearTimeout(timer);
    timer = setTimeout(() => {
      busy = busy.then(() => restart(file));
    }, SETTLE_MS);
  });
  return () => {
    clearTimeout(timer);
    watcher.close();
  };
}
