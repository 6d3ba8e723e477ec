import { BaseCommand, print, warn } from '../base-command.js';
import { ApiError } from '../client/client.js';
import { type Credentials, credentialsFor, hubServer, serverKey, storeCredentials } from '../client/credentials.js';
import { flag } from '../flags.js';
import { ask, readStdin, stdinIsTerminal } from '../terminal.js';

export default class Login extends BaseCommand {
  static override usage = '[SERVER]';
  static override arity = { least: 0, most: 1 };
  static override flags = {
    password: flag.string({ char: 'p', description: 'Password or token' }),
    'password-stdin': flag.boolean({ description: 'Read the password from STDIN' }),
    username: flag.string({ char: 'u', description: 'User name' }),
  };

  async run(): Promise<void> {
    const { flags, args, given } = this.read(Login);
    if (given.has('password')) {
      warn('WARNING! Using --password via the CLI is insecure. Use --password-stdin.');
      if (flags['password-stdin']) throw new Error('--password and --password-stdin are mutually exclusive');
    }
    if (flags['password-stdin'] && flags.username === '') throw new Error('Must provide --username with --password-stdin');
    if (given.has('username') && flags.username === '') throw new Error('username is empty');
    if (given.has('password') && flags.password === '') throw new Error('password is empty');
    const server = args[0] ? serverKey(args[0]) : hubServer;
    const known = flags.username === '' ? await credentialsFor(this.configFolder, server) : undefined;
    if (known && flags.password === '') {
      try {
        await this.authenticate(known);
        return;
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        // What was kept is no longer good: ask for new ones.
      }
    }
    await this.authenticate(await this.credentials(server, flags.username, flags.password, flags['password-stdin'], known?.username ?? ''));
  }

  private async credentials(server: string, user: string, secret: string, fromStdin: boolean, before: string): Promise<Credentials> {
    let password = secret;
    if (fromStdin) password = (await readStdin()).replace(/\r?\n$/, '');
    let username = user;
    if (username === '' || password === '') {
      if (!stdinIsTerminal()) throw new Error('Cannot perform an interactive login from a non TTY device');
      if (username === '') username = (await ask(before ? `Username (${before}): ` : 'Username: ', false)).trim() || before;
      if (username === '') throw new Error('Error: Non-null Username Required');
      if (password === '') password = await ask('Password: ', true);
      if (password === '') throw new Error('Error: Password Required');
    }
    return { username: username.trim(), password, serveraddress: server };
  }

  private async authenticate(credentials: Credentials): Promise<void> {
    const answer = await this.client.post<{ Status?: string; IdentityToken?: string }>('/auth', { body: credentials });
    const kept = answer.IdentityToken ? { ...credentials, password: '', identitytoken: answer.IdentityToken } : credentials;
    const { helper } = await storeCredentials(this.configFolder, kept);
    if (!helper) {
      warn(
        `\nWARNING! Your credentials are stored unencrypted in '${this.configFolder}/config.json'.\nConfigure a credential helper to remove this warning. See\nhttps://docs.docker.com/go/credential-store/\n`,
      );
    }
    if (answer.Status) print(answer.Status);
  }
}
