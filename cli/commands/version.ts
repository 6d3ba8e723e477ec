import { BaseCommand } from '../base-command.js';
import { newestApi } from '../client/client.js';
import { flag } from '../flags.js';
import { renderOne } from '../render/one.js';
import { version as clientVersion } from '../version.js';

interface ServerVersion {
  Version: string;
  ApiVersion: string;
  MinAPIVersion?: string;
  GitCommit: string;
  GoVersion?: string;
  Os: string;
  Arch: string;
  BuildTime?: string;
  Experimental?: boolean;
  Platform?: { Name: string };
  Components?: { Name: string; Version: string; Details?: Record<string, string> | null }[] | null;
}

const architectures: Record<string, string> = { x64: 'amd64', ia32: '386' };

export default class Version extends BaseCommand {
  static override flags = { format: flag.string({ char: 'f', description: "'json', or a Go template" }) };

  async run(): Promise<void> {
    const { flags } = this.read(Version);
    let server: ServerVersion | undefined;
    let failure: Error | undefined;
    let api = newestApi;
    try {
      api = await this.client.version();
      server = await this.client.get<ServerVersion>('/version');
    } catch (error) {
      failure = error as Error;
    }
    const client = {
      Platform: { Name: 'Gantry' },
      Version: clientVersion,
      ApiVersion: api,
      DefaultAPIVersion: newestApi,
      NodeVersion: process.version,
      Os: process.platform,
      Arch: architectures[process.arch] ?? process.arch,
      Context: 'default',
    };
    if (flags.format !== '') process.stdout.write(renderOne({ Client: client, Server: server ?? null }, flags.format));
    else process.stdout.write(clientText(client) + (server ? serverText(server) : ''));
    if (failure) throw failure;
  }
}

const clientText = (client: {
  Version: string;
  ApiVersion: string;
  NodeVersion: string;
  Os: string;
  Arch: string;
  Context: string;
}): string => {
  const lowered = client.ApiVersion === newestApi ? '' : ` (downgraded from ${newestApi})`;
  return [
    'Client: Gantry',
    ` Version:           ${client.Version}`,
    ` API version:       ${client.ApiVersion}${lowered}`,
    ` Node version:      ${client.NodeVersion}`,
    ` OS/Arch:           ${client.Os}/${client.Arch}`,
    ` Context:           ${client.Context}`,
    '',
  ].join('\n');
};

const serverText = (server: ServerVersion): string => {
  const components = server.Components?.length ? server.Components : [engineOf(server)];
  const lines = ['', `Server:${server.Platform?.Name ? ` ${server.Platform.Name}` : ''}`];
  const row = (label: string, value: string): number => lines.push(`  ${`${label}:`.padEnd(18)}${value}`);
  for (const { Name, Version: shown, Details } of components) {
    lines.push(` ${Name}:`);
    row('Version', shown);
    const details = Details ?? {};
    if (Name === 'Engine') {
      row('API version', `${details['ApiVersion'] ?? ''} (minimum version ${details['MinAPIVersion'] ?? ''})`);
      if (details['GoVersion']) row('Go version', details['GoVersion']);
      if (details['NodeVersion']) row('Node version', details['NodeVersion']);
      row('Git commit', details['GitCommit'] ?? '');
      row('Built', builtAt(details['BuildTime'] ?? ''));
      row('OS/Arch', `${details['Os'] ?? ''}/${details['Arch'] ?? ''}`);
      row('Experimental', details['Experimental'] ?? 'false');
    } else {
      for (const [label, value] of Object.entries(details).sort(([left], [right]) => (left < right ? -1 : 1))) row(label, value);
    }
  }
  return `${lines.join('\n')}\n`;
};

/** Engines older than API 1.35 tell of themselves only at the top. */
const engineOf = (server: ServerVersion): NonNullable<ServerVersion['Components']>[number] => ({
  Name: 'Engine',
  Version: server.Version,
  Details: {
    ApiVersion: server.ApiVersion,
    MinAPIVersion: server.MinAPIVersion ?? '',
    GitCommit: server.GitCommit,
    GoVersion: server.GoVersion ?? '',
    BuildTime: server.BuildTime ?? '',
    Os: server.Os,
    Arch: server.Arch,
    Experimental: String(server.Experimental ?? false),
  },
});

const days = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'];
const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** A time in the form of the C library's asctime, as Docker shows it; what is no time stays as it is. */
const builtAt = (text: string): string => {
  const at = new Date(text);
  if (!/^\d{4}-\d{2}-\d{2}T/.test(text) || Number.isNaN(at.getTime())) return text;
  const clock = at.toISOString().slice(11, 19);
  return `${days[at.getUTCDay()]} ${months[at.getUTCMonth()]} ${String(at.getUTCDate()).padStart(2)} ${clock} ${at.getUTCFullYear()}`;
};
