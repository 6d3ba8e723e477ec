import { chmod, mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** The parts of a Docker client's config.json that are used here; the rest is kept when the file is written. */
export interface ClientConfig {
  auths?: Record<string, { auth?: string; username?: string; password?: string; identitytoken?: string }>;
  credsStore?: string;
  credHelpers?: Record<string, string>;
  psFormat?: string;
  imagesFormat?: string;
  networksFormat?: string;
  volumesFormat?: string;
  pluginsFormat?: string;
  statsFormat?: string;
  detachKeys?: string;
}

/** An absent file is an empty one. @throws Error when the file is no JSON */
export const readConfig = async (folder: string): Promise<ClientConfig> => {
  const file = join(folder, 'config.json');
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    // What a command needs is mostly not in there, so that a file of somebody else need not stop it.
    if (code === 'EACCES') process.stderr.write(`WARNING: Error loading config file: ${message}\n`);
    else if (code !== 'ENOENT') throw error;
    return {};
  }
  try {
    return (text.trim() === '' ? {} : JSON.parse(text)) as ClientConfig;
  } catch (error) {
    throw new Error(`${file}: ${(error as Error).message}`);
  }
};

/** Replaces the file as a whole; it holds secrets, so nobody else may read it. */
export const writeConfig = async (folder: string, config: ClientConfig): Promise<void> => {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const file = join(folder, 'config.json');
  const temporary = `${file}.${process.pid}`;
  await writeFile(temporary, `${JSON.stringify(config, null, '\t')}\n`, { mode: 0o600, flag: 'w' });
  await chmod(temporary, 0o600);
  await rename(temporary, file);
};
