import { Config } from '@oclif/core/config';
import { ArityError, CommandError, ExitError, HelpRequest, type Invocation, SeveralErrors } from './base-command.js';
import { ApiError } from './client/client.js';
import { type CommandClass, type CommandEntry, commands, findCommand, groups } from './dispatch.js';
import { flag, parseFlags, UsageError } from './flags.js';
import { version } from './version.js';

/** What is less than the chosen one is not told. This program has things to tell at `debug` alone: its requests. */
const logLevels = ['debug', 'info', 'warn', 'error', 'fatal'];

const globalFlags = {
  config: flag.string({ description: '' }),
  context: flag.string({ char: 'c', description: '' }),
  debug: flag.boolean({ char: 'D', description: '' }),
  host: flag.list({ char: 'H', description: '' }),
  'log-level': flag.string({ char: 'l', description: '', initial: 'info' }),
  tls: flag.boolean({ description: '' }),
  tlscacert: flag.string({ description: '' }),
  tlscert: flag.string({ description: '' }),
  tlskey: flag.string({ description: '' }),
  tlsverify: flag.boolean({ description: '' }),
  version: flag.boolean({ char: 'v', description: '' }),
};

/** From a command line to the end of the process. */
export const main = async (argv: string[]): Promise<void> => {
  // The reader of our output went away: nothing that is left to say can be heard.
  for (const stream of [process.stdout, process.stderr])
    stream.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 141 : 1));
  const code = await runProgram(argv);
  // What a full pipe has not taken yet would be lost with the process.
  await Promise.all(
    [process.stdout, process.stderr].map((stream) =>
      stream.writableLength > 0 ? new Promise((resolve) => stream.write('', resolve)) : undefined,
    ),
  );
  process.exit(code);
};

const runProgram = async (argv: string[]): Promise<number> => {
  let line;
  try {
    line = parseFlags(argv, globalFlags, false);
  } catch (error) {
    return fail(error as Error, '', undefined, false);
  }
  const { flags, given } = line;
  if (flags.version) {
    process.stdout.write(`Gantry version ${version}\n`);
    return 0;
  }
  if (!logLevels.includes(flags['log-level'])) {
    process.stderr.write(`unable to parse logging level: ${flags['log-level']}\n`);
    return 1;
  }
  let words = line.args;
  let help = line.help;
  if (words[0] === 'help') {
    words = words.slice(1);
    help = true;
  }
  const found = findCommand(words);
  if (!found) return withoutCommand(words, help);

  const name = words.slice(0, found.used).join(' ');
  const invocation: Invocation = {
    words: name,
    summary: found.entry.summary,
    aliases: found.entry.also ?? [],
    traces: flags.debug || flags['log-level'] === 'debug',
    endpoint: {
      hosts: flags.host,
      config: flags.config || undefined,
      tls: given.has('tls') ? flags.tls : undefined,
      tlsVerify: given.has('tlsverify') ? flags.tlsverify : undefined,
      tlsCa: flags.tlscacert || undefined,
      tlsCert: flags.tlscert || undefined,
      tlsKey: flags.tlskey || undefined,
    },
  };
  let command: CommandClass | undefined;
  try {
    if (given.has('context') && flags.context !== 'default')
      throw new CommandError(`contexts are not supported: name the engine of ${JSON.stringify(flags.context)} with --host`, 1);
    command = (await found.entry.load()).default;
    if (help) throw new HelpRequest();
    const instance = new command(words.slice(found.used), oclifConfig());
    instance.invocation = invocation;
    await instance['_run']();
    return Number(process.exitCode ?? 0);
  } catch (error) {
    if (error instanceof HelpRequest && command) return showHelp(name, found.entry, command);
    return fail(error as Error, name, command, flags.debug);
  }
};

/** What oclif's own loader would find on disk, which for one known command is only names. */
const oclifConfig = (): Config => {
  const config = new Config({ root: import.meta.dirname });
  return Object.assign(config, { bin: 'gantry', name: 'gantry', version, userAgent: `gantry/${version}`, topicSeparator: ' ' });
};

const showHelp = async (words: string, entry: CommandEntry, command: CommandClass): Promise<number> => {
  const { commandHelp } = await import('./help.js');
  process.stdout.write(`${commandHelp(words, entry, command)}\n`);
  return 0;
};

const withoutCommand = async (words: string[], help: boolean): Promise<number> => {
  const { groupHelp, programHelp } = await import('./help.js');
  const group = groups.find(([name]) => name === words[0]);
  const rest = words.slice(1).filter((word) => word !== '--help' && word !== '-h');
  if (group && rest.length === 0) {
    process.stdout.write(`${groupHelp(group[0], group[1], commands)}\n`);
    return 0;
  }
  if (words.length === 0) {
    process.stdout.write(`${programHelp(commands, groups)}\n`);
    return 0;
  }
  const path = group ? `gantry ${group[0]}` : 'gantry';
  const unknown = group ? (rest[0] as string) : (words[0] as string);
  if (help) process.stderr.write(`gantry: unknown help topic: ${words.join(' ')}\n`);
  else if (group)
    process.stderr.write(
      `gantry: unknown command: ${path} ${unknown}\n\nUsage:  ${path} COMMAND\n\nRun '${path} --help' for more information\n`,
    );
  else process.stderr.write(`gantry: unknown command: gantry ${unknown}\n\nRun 'gantry --help' for more information\n`);
  return 1;
};

const fail = async (error: Error, words: string, command: CommandClass | undefined, debug: boolean): Promise<number> => {
  if (error instanceof ExitError) return error.exitCode;
  const path = words === '' ? 'gantry' : `gantry ${words}`;
  const say = (text: string): boolean => process.stderr.write(`${text}\n`);
  if (debug && error.stack) say(error.stack);
  if (error instanceof UsageError || error instanceof ArityError) {
    const usage = command ? `\n${(await import('./help.js')).usageLines(words, command)}\n` : '';
    if (error instanceof ArityError)
      say(`gantry: ${error.message}\n${usage}\n${error.tooFew ? 'See' : 'Run'} '${path} --help' for more information`);
    else say(`${error.message}\n${usage}\nRun '${path} --help' for more information`);
    return error instanceof UsageError ? error.exitCode : 1;
  }
  if (error instanceof CommandError) {
    say(`gantry: ${error.message}${error.pointsToHelp ? `\n\nRun '${path} --help' for more information` : ''}`);
    return error.exitCode;
  }
  if (error instanceof ApiError || error instanceof SeveralErrors) say(error.message);
  else say(`gantry: ${error.message}`);
  return 1;
};
