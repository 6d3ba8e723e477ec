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
  ['plugin', 'Manage plugins'],
  ['storage', 'Manage storage drivers and what they keep'],
  ['system', 'Manage the engine'],
  ['volume', 'Manage volumes'],
];

export const commands: readonly CommandEntry[] = [
  container('attach', 'Connect the terminal to a running container', () => import('./commands/container/attach.js')),
  container('commit', 'Make an image of the changes in a container', () => import('./commands/container/commit.js')),
  container('cp', 'Copy files between a container and this machine', () => import('./commands/container/cp.js')),
  container('create', 'Make a container without starting it', () => import('./commands/container/create.js')),
  container('diff', "List what changed in a container's files", () => import('./commands/container/diff.js')),
  container('exec', 'Run a command in a running container', () => import('./commands/container/exec.js')),
  container('export', "Write a container's files as a tar archive", () => import('./commands/container/export.js')),
  { words: 'container inspect', summary: 'Show all that is known of containers', load: () => import('./commands/container/inspect.js') },
  container('kill', 'Send a signal to running containers', () => import('./commands/container/kill.js')),
  container('logs', 'Show what a container wrote', () => import('./commands/container/logs.js')),
  container('ls', 'List containers', () => import('./commands/container/ls.js'), ['container list', 'container ps', 'ps']),
  container('mount add', 'Give a container one more mount, also while it runs', () => import('./commands/container/mount-add.js')),
  container('mount rm', 'Take a mount from a container, also while it runs', () => import('./commands/container/mount-rm.js')),
  container('pause', 'Freeze all processes of containers', () => import('./commands/container/pause.js')),
  container('port', 'List the published ports of a container', () => import('./commands/container/port.js')),
  container('port add', 'Publish more ports of a container, also while it runs', () => import('./commands/container/port-add.js')),
  container('port rm', 'Publish ports of a container no longer, also while it runs', () => import('./commands/container/port-rm.js')),
  { words: 'container prune', summary: 'Remove all stopped containers', load: () => import('./commands/container/prune.js') },
  container('rename', 'Rename a container', () => import('./commands/container/rename.js')),
  container('restart', 'Stop containers and start them again', () => import('./commands/container/restart.js')),
  container('rm', 'Remove containers', () => import('./commands/container/rm.js'), ['container remove', 'rm']),
  container('run', 'Make a container from an image and start it', () => import('./commands/container/run.js')),
  container('start', 'Start stopped containers', () => import('./commands/container/start.js')),
  container('stats', 'Show what running containers use', () => import('./commands/container/stats.js')),
  container('stop', 'Stop running containers', () => import('./commands/container/stop.js')),
  container('top', 'List the processes of a container', () => import('./commands/container/top.js')),
  container('unpause', 'Thaw all processes of containers', () => import('./commands/container/unpause.js')),
  container('update', 'Change limits and restart policy of containers', () => import('./commands/container/update.js')),
  container('wait', 'Wait until containers stop and print their exit codes', () => import('./commands/container/wait.js')),

  { words: 'image history', also: ['history'], summary: 'Show how an image was made', load: () => import('./commands/image/history.js') },
  {
    words: 'image import',
    also: ['import'],
    summary: 'Make an image of a tar archive of files',
    load: () => import('./commands/image/import.js'),
  },
  { words: 'image inspect', summary: 'Show all that is known of images', load: () => import('./commands/image/inspect.js') },
  {
    words: 'image layers',
    summary: 'Show where the layers of an image are unpacked, for whom, and how large',
    load: () => import('./commands/image/layers.js'),
  },
  {
    words: 'image load',
    also: ['load'],
    summary: 'Read images from a tar archive or stdin',
    load: () => import('./commands/image/load.js'),
  },
  { words: 'image ls', also: ['image list', 'images'], summary: 'List images', load: () => import('./commands/image/ls.js') },
  { words: 'image prune', summary: 'Remove unused images', load: () => import('./commands/image/prune.js') },
  { words: 'image pull', also: ['pull'], summary: 'Fetch an image from a registry', load: () => import('./commands/image/pull.js') },
  { words: 'image push', also: ['push'], summary: 'Send an image to a registry', load: () => import('./commands/image/push.js') },
  { words: 'image rm', also: ['image remove', 'rmi'], summary: 'Remove images', load: () => import('./commands/image/rm.js') },
  { words: 'image save', also: ['save'], summary: 'Write images as a tar archive', load: () => import('./commands/image/save.js') },
  { words: 'image tag', also: ['tag'], summary: 'Give an image another name', load: () => import('./commands/image/tag.js') },

  { words: 'network connect', summary: 'Connect a container to a network', load: () => import('./commands/network/connect.js') },
  { words: 'network create', summary: 'Make a network', load: () => import('./commands/network/create.js') },
  { words: 'network disconnect', summary: 'Disconnect a container from a network', load: () => import('./commands/network/disconnect.js') },
  {
    words: 'network exposed',
    summary: 'Show what of the containers is reachable from where',
    load: () => import('./commands/network/exposed.js'),
  },
  { words: 'network inspect', summary: 'Show all that is known of networks', load: () => import('./commands/network/inspect.js') },
  { words: 'network ls', also: ['network list'], summary: 'List networks', load: () => import('./commands/network/ls.js') },
  { words: 'network prune', summary: 'Remove all unused networks', load: () => import('./commands/network/prune.js') },
  { words: 'network rm', also: ['network remove'], summary: 'Remove networks', load: () => import('./commands/network/rm.js') },

  {
    words: 'plugin create',
    summary: 'Make a plugin of a folder with config.json and rootfs',
    load: () => import('./commands/plugin/create.js'),
  },
  {
    words: 'plugin check',
    summary: 'Find out which promises of the plugin protocol a plugin keeps',
    load: () => import('./commands/plugin/check.js'),
  },
  { words: 'plugin dev', summary: 'Run a plugin from its source and show its calls', load: () => import('./commands/plugin/dev.js') },
  { words: 'plugin disable', summary: 'Stop a plugin', load: () => import('./commands/plugin/disable.js') },
  { words: 'plugin enable', summary: 'Start a plugin', load: () => import('./commands/plugin/enable.js') },
  { words: 'plugin init', summary: 'Begin a new plugin, with tests', load: () => import('./commands/plugin/init.js') },
  { words: 'plugin inspect', summary: 'Show all that is known of plugins', load: () => import('./commands/plugin/inspect.js') },
  { words: 'plugin install', summary: 'Fetch a plugin from a registry and start it', load: () => import('./commands/plugin/install.js') },
  { words: 'plugin logs', summary: 'Show what a plugin wrote', load: () => import('./commands/plugin/logs.js') },
  { words: 'plugin ls', also: ['plugin list'], summary: 'List plugins', load: () => import('./commands/plugin/ls.js') },
  { words: 'plugin push', summary: 'Send a plugin to a registry', load: () => import('./commands/plugin/push.js') },
  { words: 'plugin replay', summary: 'Repeat recorded calls and compare the answers', load: () => import('./commands/plugin/replay.js') },
  { words: 'plugin rm', also: ['plugin remove'], summary: 'Remove plugins', load: () => import('./commands/plugin/rm.js') },
  { words: 'plugin serve', summary: 'Serve a driver of this engine as a plugin', load: () => import('./commands/plugin/serve.js') },
  { words: 'plugin set', summary: 'Change settings of a plugin', load: () => import('./commands/plugin/set.js') },
  { words: 'plugin trace', summary: 'Show the calls to a plugin as they are made', load: () => import('./commands/plugin/trace.js') },
  { words: 'plugin upgrade', summary: 'Put another version in the place of a plugin', load: () => import('./commands/plugin/upgrade.js') },

  {
    words: 'storage check',
    summary: 'Compare records of layers with what the storage drivers keep',
    load: () => import('./commands/storage/check.js'),
  },
  { words: 'storage inspect', summary: 'Show all that storage drivers keep', load: () => import('./commands/storage/inspect.js') },
  { words: 'storage ls', also: ['storage list'], summary: 'List storage drivers', load: () => import('./commands/storage/ls.js') },
  {
    words: 'storage migrate',
    summary: 'Move images and stopped containers to another storage driver',
    load: () => import('./commands/storage/migrate.js'),
  },
  { words: 'storage prune', summary: 'Remove unpacked layers that nobody uses', load: () => import('./commands/storage/prune.js') },

  { words: 'volume clone', summary: 'Make a volume with the content of another', load: () => import('./commands/volume/clone.js') },
  { words: 'volume create', summary: 'Make a volume', load: () => import('./commands/volume/create.js') },
  { words: 'volume export', summary: "Write a volume's files as a tar archive", load: () => import('./commands/volume/export.js') },
  { words: 'volume import', summary: 'Fill an empty volume from a tar archive', load: () => import('./commands/volume/import.js') },
  { words: 'volume inspect', summary: 'Show all that is known of volumes', load: () => import('./commands/volume/inspect.js') },
  { words: 'volume ls', also: ['volume list'], summary: 'List volumes', load: () => import('./commands/volume/ls.js') },
  { words: 'volume prune', summary: 'Remove unused volumes', load: () => import('./commands/volume/prune.js') },
  { words: 'volume rename', summary: 'Rename a volume that no container uses', load: () => import('./commands/volume/rename.js') },
  { words: 'volume resize', summary: 'Limit what a volume may hold', load: () => import('./commands/volume/resize.js') },
  { words: 'volume rm', also: ['volume remove'], summary: 'Remove volumes', load: () => import('./commands/volume/rm.js') },
  { words: 'volume snapshot', summary: 'Keep the content of a volume as it is now', load: () => import('./commands/volume/snapshot.js') },

  {
    words: 'system check',
    summary: 'Compare what is recorded with what is there, and mend it',
    load: () => import('./commands/system/check.js'),
  },
  { words: 'system df', summary: 'Show how much disk the engine uses', load: () => import('./commands/system/df.js') },
  {
    words: 'system events',
    also: ['events'],
    summary: 'Show what happens in the engine, as it happens',
    load: () => import('./commands/system/events.js'),
  },
  { words: 'system info', also: ['info'], summary: 'Show what the engine is and has', load: () => import('./commands/system/info.js') },
  { words: 'system prune', summary: 'Remove all that is unused', load: () => import('./commands/system/prune.js') },

  { words: 'inspect', summary: 'Show all that is known of any object', load: () => import('./commands/inspect.js') },
  { words: 'login', summary: 'Give the credentials for a registry', load: () => import('./commands/login.js') },
  { words: 'logout', summary: 'Forget the credentials for a registry', load: () => import('./commands/logout.js') },
  { words: 'search', summary: 'Search Docker Hub for images', load: () => import('./commands/search.js') },
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
