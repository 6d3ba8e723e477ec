import type { Config } from '@oclif/core/config';
import type { BaseCommand } from './base-command.js';

/** A command that can be made; the base itself is abstract. */
export type CommandClass = Pick<typeof BaseCommand, 'usage' | 'flags' | 'description' | 'arity'> &
  (new (argv: string[], config: Config) => BaseCommand);

export interface CommandModule {
  default: CommandClass;
}

export interface CommandEntry {
  /** The words that name the command, in the form that help lists first. */
  words: string;
  also?: readonly string[];
  summary: string;
  load: () => Promise<CommandModule>;
}

/** `load` is a function for each, so that one command is read from disk and not seventy. */
const container = (name: string, summary: string, load: CommandEntry['load'], also: string[] = [name]): CommandEntry => ({
  words: `container ${name}`,
  also,
  summary,
  load,
});

export const groups: readonly (readonly [string, string])[] = [
  ['container', 'Manage containers'],
  ['image', 'Manage images'],
  ['network', 'Manage networks'],
  ['system', 'Manage the engine'],
  ['volume', 'Manage volumes'],
];

export const commands: readonly CommandEntry[] = [
  container('create', 'Make a container without starting it', () => import('./commands/container/create.js')),
  container('exec', 'Run a command in a running container', () => import('./commands/container/exec.js')),
  { words: 'container inspect', summary: 'Show all that is known of containers', load: () => import('./commands/container/inspect.js') },
  container('kill', 'Send a signal to running containers', () => import('./commands/container/kill.js')),
  container('logs', 'Show what a container wrote', () => import('./commands/container/logs.js')),
  container('ls', 'List containers', () => import('./commands/container/ls.js'), ['container list', 'container ps', 'ps']),
  container('pause', 'Freeze all processes of containers', () => import('./commands/container/pause.js')),
  container('restart', 'Stop containers and start them again', () => import('./commands/container/restart.js')),
  container('rm', 'Remove containers', () => import('./commands/container/rm.js'), ['container remove', 'rm']),
  container('run', 'Make a container from an image and start it', () => import('./commands/container/run.js')),
  container('start', 'Start stopped containers', () => import('./commands/container/start.js')),
  container('stop', 'Stop running containers', () => import('./commands/container/stop.js')),
  container('unpause', 'Thaw all processes of containers', () => import('./commands/container/unpause.js')),

  { words: 'image ls', also: ['image list', 'images'], summary: 'List images', load: () => import('./commands/image/ls.js') },
  { words: 'image pull', also: ['pull'], summary: 'Fetch an image from a registry', load: () => import('./commands/image/pull.js') },

  { words: 'system info', also: ['info'], summary: 'Show what the engine is and has', load: () => import('./commands/system/info.js') },

  { words: 'inspect', summary: 'Show all that is known of any object', load: () => import('./commands/inspect.js') },
  { words: 'version', summary: 'Show the versions of client and engine', load: () => import('./commands/version.js') },
];

/** The command that the words begin with, and how many of them name it. */
export const findCommand = (words: readonly string[]): { entry: CommandEntry; used: number } | undefined => {
  for (const used of [2, 1]) {
    const wanted = words.slice(0, used).join(' ');
    const entry = words.length < used ? undefined : commands.find((each) => each.words === wanted || each.also?.includes(wanted));
    if (entry) return { entry, used };
  }
  return undefined;
};
