import { Command } from '@oclif/core/command';
import { Client } from './client/client.js';
import { type EndpointFlags, configFolder, resolveEndpoint } from './client/endpoint.js';
import { type FlagTable, type Parsed, parseFlags } from './flags.js';

/** What the user typed around a command, found before its module was loaded. */
export interface Invocation {
  /** The words that named the command, `image ls`, for messages. */
  words: string;
  summary: string;
  aliases: readonly string[];
  /** Each request is told on stderr. */
  traces: boolean;
  endpoint: EndpointFlags;
}

/** How many arguments a command takes; the largest number is left out where there is none. */
export interface Arity {
  least: number;
  most?: number;
}

/** The wrong number of arguments. */
export class ArityError extends Error {
  constructor(
    message: string,
    /** Docker points to the help of these with "See", and with "Run" for all else. */
    readonly tooFew = false,
  ) {
    super(message);
  }
}

/** A command ends with this code and has said all there is to say. */
export class ExitError extends Error {
  constructor(readonly exitCode: number) {
    super(`exit ${exitCode}`);
  }
}

/** A message of its own for the user, with an exit code other than 1. */
export class CommandError extends Error {
  constructor(
    message: string,
    readonly exitCode: number,
    /** Ends with a pointer to the command's help, as Docker's run does. */
    readonly pointsToHelp = false,
  ) {
    super(message);
  }
}

/** Help was asked for in the command's own flags. */
export class HelpRequest extends Error {}

/**
 * A command of `gantry`: an oclif command whose line is read in Docker's grammar. What oclif would print or log by itself is
 * left to the program's entry, which knows Docker's forms and exit codes.
 */
export abstract class BaseCommand extends Command {
  /** What follows the command's words in its usage line; a command with two forms has two. */
  static override usage: string | string[] = '';
  static arity: Arity = { least: 0, most: 0 };
  /** False where the first argument ends the flags, because what follows belongs to someone else. */
  static interspersed = true;

  /** Set by the entry before the command runs. */
  invocation!: Invocation;
  private connected: Client | undefined;

  override async init(): Promise<void> {}

  override async catch(error: Error): Promise<void> {
    throw error;
  }

  /** The engine that flags and environment name. */
  get client(): Client {
    const endpoint = resolveEndpoint(this.invocation.endpoint);
    this.connected ??= new Client(endpoint, {
      ...(process.env['DOCKER_API_VERSION'] ? { apiVersion: process.env['DOCKER_API_VERSION'] } : {}),
      ...(this.invocation.traces ? { onAnswer: (line: string) => warn(line) } : {}),
      onAbsent: async (error) => (await import('./client/autostart.js')).startEngine(error, endpoint),
    });
    return this.connected;
  }

  get configFolder(): string {
    return configFolder(this.invocation.endpoint);
  }

  /** Flags and arguments of the line, checked against what the command declares. */
  protected read<F extends FlagTable>(command: { flags: F; arity: Arity; interspersed: boolean }): Parsed<F> {
    this.parsed = true;
    const line = parseFlags(this.argv, command.flags, command.interspersed);
    if (line.help) throw new HelpRequest();
    checkArity(this.invocation.words, command.arity, line.args.length);
    return line;
  }
}

const checkArity = (words: string, { least, most }: Arity, count: number): void => {
  if (count >= least && count <= (most ?? Infinity)) return;
  const name = `'gantry ${words}'`;
  const many = (number: number): string => `${number} argument${number === 1 ? '' : 's'}`;
  if (most === 0) throw new ArityError(`${name} accepts no arguments`);
  if (most === least) throw new ArityError(`${name} requires ${many(least)}`);
  if (count < least && most === undefined) throw new ArityError(`${name} requires at least ${many(least)}`, true);
  if (most !== undefined && least === 0) throw new ArityError(`${name} requires at most ${many(most)}`);
  throw new ArityError(`${name} requires at least ${least} and at most ${many(most as number)}`);
};

/** Writes a line for the user's eyes or for a script to stdout. */
export const print = (text: string): void => {
  process.stdout.write(`${text}\n`);
};

export const warn = (text: string): void => {
  process.stderr.write(`${text}\n`);
};

/**
 * Does one thing to each of several names, together; prints the name of each that worked, in order, and fails at the end
 * with all that went wrong.
 */
export const forEachName = async (names: readonly string[], act: (name: string) => Promise<string | undefined>): Promise<void> => {
  const failures: string[] = [];
  const results = names.map((name) =>
    act(name).then(
      (text) => ({ text }),
      (error: unknown) => ({ error: error as Error }),
    ),
  );
  for (const pending of results) {
    const result = await pending;
    if ('error' in result) failures.push(result.error.message);
    else if (result.text !== undefined) print(result.text);
  }
  if (failures.length > 0) throw new SeveralErrors(failures);
};

/** Messages to print as they are, one to a line. */
export class SeveralErrors extends Error {
  constructor(readonly messages: readonly string[]) {
    super(messages.join('\n'));
  }
}
