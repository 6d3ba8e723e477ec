import { spawnSync } from 'node:child_process';

/** Whether bytes typed into our stdin come from a person. */
export const stdinIsTerminal = (): boolean => process.stdin.isTTY === true;
export const stdoutIsTerminal = (): boolean => process.stdout.isTTY === true;

/** Rows and columns of the terminal, zero where there is none. */
export const terminalSize = (): { height: number; width: number } => ({
  height: process.stdout.rows ?? 0,
  width: process.stdout.columns ?? 0,
});

/**
 * Hands the keyboard through untouched until the result is called. Node's raw mode leaves the terminal turning line feeds into
 * two characters, and the terminal in the container does that already: with both, programs that draw, such as vi, write in the
 * wrong places. Node has no call for it, so stty does; without stty only drawing suffers.
 */
export const rawTerminal = (): (() => void) => {
  if (!process.stdin.isTTY) return () => undefined;
  process.stdin.setRawMode(true);
  if (process.stdout.isTTY) spawnSync('stty', ['-opost'], { stdio: ['inherit', 'ignore', 'ignore'] });
  let restored = false;
  const restore = (): void => {
    if (restored) return;
    restored = true;
    process.off('exit', restore);
    process.stdin.setRawMode(false);
  };
  process.on('exit', restore);
  return restore;
};

/** Calls back with the size now and whenever the window changes. */
export const followSize = (tell: (size: { height: number; width: number }) => void): (() => void) => {
  const changed = (): void => tell(terminalSize());
  process.stdout.on('resize', changed);
  changed();
  return () => process.stdout.off('resize', changed);
};

const forwarded: readonly NodeJS.Signals[] = [
  'SIGHUP',
  'SIGINT',
  'SIGQUIT',
  'SIGTERM',
  'SIGUSR1',
  'SIGUSR2',
  'SIGALRM',
  'SIGCONT',
  'SIGTSTP',
  'SIGTTIN',
  'SIGTTOU',
  'SIGWINCH',
];

/** Calls back with the name of each signal sent to us, instead of its usual effect. */
export const catchSignals = (caught: (name: string) => void): (() => void) => {
  const handler = (name: NodeJS.Signals): void => caught(name.slice(3));
  for (const name of forwarded) process.on(name, handler);
  return () => {
    for (const name of forwarded) process.off(name, handler);
  };
};

/** Asks on the terminal; yes only for an explicit yes. */
export const confirm = async (question: string): Promise<boolean> => {
  const answer = await ask(`${question} [y/N] `, false);
  return answer.trim().toLowerCase() === 'y';
};

/** Reads one line; what is typed stays hidden when `secret`. Rejects when interrupted. */
export const ask = async (question: string, secret: boolean): Promise<string> => {
  process.stdout.write(question);
  const { createInterface } = await import('node:readline');
  const { Writable } = await import('node:stream');
  const silent = new Writable({ write: (_data, _encoding, done) => done() });
  const reader = createInterface({
    input: process.stdin,
    output: secret ? silent : process.stdout,
    terminal: secret && process.stdin.isTTY === true,
  });
  try {
    return await new Promise<string>((resolve, reject) => {
      reader.once('line', resolve);
      reader.once('SIGINT', () => reject(new Error('interrupted')));
      reader.once('close', () => resolve(''));
    });
  } finally {
    reader.close();
    if (secret) process.stdout.write('\n');
  }
};

/** Everything on stdin, for secrets that a script hands over. */
export const readStdin = async (): Promise<string> => {
  const pieces: Buffer[] = [];
  for await (const piece of process.stdin) pieces.push(piece as Buffer);
  return Buffer.concat(pieces).toString('utf8');
};
