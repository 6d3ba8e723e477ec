import type { CommandClass, CommandEntry } from './dispatch.js';
import type { Flag } from './flags.js';

/** `gantry rm [OPTIONS] CONTAINER [CONTAINER...]`, one line for each form. */
export const usageLines = (words: string, command: CommandClass): string => {
  const forms = Array.isArray(command.usage) ? command.usage : [command.usage];
  const options = Object.keys(command.flags ?? {}).length > 0 ? ' [OPTIONS]' : '';
  return forms.map((form, at) => `${at === 0 ? 'Usage:  ' : '\t'}gantry ${words}${options}${form === '' ? '' : ` ${form}`}`).join('\n');
};

export const commandHelp = (words: string, entry: CommandEntry, command: CommandClass): string => {
  const parts = [usageLines(words, command), entry.summary + (command.description ? `\n\n${command.description}` : '')];
  const aliases = [entry.words, ...(entry.also ?? [])];
  if (aliases.length > 1) parts.push(`Aliases:\n  ${aliases.map((alias) => `gantry ${alias}`).join(', ')}`);
  const rows = flagRows(command.flags as Record<string, Flag<unknown>>);
  if (rows.length > 0) parts.push(`Options:\n${rows.join('\n')}`);
  return parts.join('\n\n');
};

const flagRows = (flags: Record<string, Flag<unknown>>): string[] => {
  const shown = Object.entries(flags ?? {})
    .filter(([, each]) => !each.hidden)
    .sort(([left], [right]) => (left < right ? -1 : 1))
    .map(([name, each]) => {
      const kind = each.helpValue ? ` ${String(each.helpValue)}` : '';
      return {
        label: `${each.char ? `-${each.char}, ` : '    '}--${name}${kind}`,
        text: (each.description ?? '') + (each.shownDefault ? ` (default ${each.shownDefault})` : ''),
      };
    });
  const width = Math.max(0, ...shown.map((row) => row.label.length)) + 3;
  const room = Math.max(24, (process.stdout.columns ?? 120) - width - 4);
  return shown.map((row) => `  ${row.label.padEnd(width)}${wrap(row.text, room).join(`\n${' '.repeat(width + 2)}`)}`);
};

const wrap = (text: string, width: number): string[] => {
  const lines: string[] = [];
  for (const paragraph of text.split('\n')) {
    let line = '';
    for (const word of paragraph.split(' ')) {
      if (line !== '' && line.length + 1 + word.length > width) {
        lines.push(line);
        line = word;
      } else line = line === '' ? word : `${line} ${word}`;
    }
    lines.push(line);
  }
  return lines;
};

const listing = (rows: readonly (readonly [string, string])[]): string => {
  const width = Math.max(...rows.map(([name]) => name.length)) + 3;
  return rows.map(([name, summary]) => `  ${name.padEnd(width)}${summary}`).join('\n');
};

/** What `gantry image` prints. */
export const groupHelp = (group: string, summary: string, entries: readonly CommandEntry[]): string => {
  const rows = entries
    .flatMap((entry) => {
      const words = [entry.words, ...(entry.also ?? [])].find((each) => each.startsWith(`${group} `));
      return words === undefined ? [] : [[words.slice(group.length + 1), entry.summary] as const];
    })
    .sort(([left], [right]) => (left < right ? -1 : 1));
  return `Usage:  gantry ${group} COMMAND\n\n${summary}\n\nCommands:\n${listing(rows)}\n\nRun 'gantry ${group} COMMAND --help' for more information on a command.`;
};

const common = ['run', 'exec', 'ps', 'pull', 'push', 'images', 'login', 'logout', 'search', 'version', 'info'];

export const globalFlagRows: readonly (readonly [string, string])[] = [
  ['    --config string', 'Folder of the client configuration (default "~/.docker")'],
  ['-D, --debug', 'Show the stack of an error, and log as with -l debug'],
  ['-H, --host list', 'Socket of the engine to connect to'],
  ['-l, --log-level string', 'What to log on stderr: debug shows each request; info, warn, error or fatal (default "info")'],
  ['    --tls', 'Use TLS without checking the server'],
  ['    --tlscacert string', 'Certificate of the CA to trust'],
  ['    --tlscert string', 'Certificate to show'],
  ['    --tlskey string', 'Key of that certificate'],
  ['    --tlsverify', 'Use TLS and check the server'],
  ['-v, --version', 'Print the version and end'],
];

/** What `gantry` alone prints. */
export const programHelp = (entries: readonly CommandEntry[], groups: readonly (readonly [string, string])[]): string => {
  const top = entries.flatMap((entry) => {
    const words = [entry.words, ...(entry.also ?? [])].find((each) => !each.includes(' '));
    return words === undefined ? [] : [[words, entry.summary] as const];
  });
  const first = common.flatMap((name) => top.filter(([words]) => words === name));
  const rest = top.filter(([words]) => !common.includes(words)).sort(([left], [right]) => (left < right ? -1 : 1));
  return [
    'Usage:  gantry [OPTIONS] COMMAND',
    'Runs containers, with the commands and options that Docker has',
    `Common Commands:\n${listing(first)}`,
    `Management Commands:\n${listing(groups)}`,
    `Commands:\n${listing(rest)}`,
    `Global Options:\n${listing(globalFlagRows)}`,
    "Run 'gantry COMMAND --help' for more information on a command.\nGANTRY_HOST, then DOCKER_HOST, names the engine when --host is not given.",
  ].join('\n\n');
};
