import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Config } from '@oclif/core/config';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ArityError, HelpRequest, SeveralErrors } from './base-command.js';
import { commands, findCommand } from './dispatch.js';
import { UsageError } from './flags.js';
import { commandHelp } from './help.js';

let server: Server;
let folder = '';
let asked: string[] = [];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'gantry-command-'));
  server = createServer((request, response) => {
    asked.push(`${request.method} ${request.url}`);
    response.setHeader('Api-Version', '1.44');
    response.statusCode = request.url?.includes('absent') ? 404 : 204;
    response.end(request.url?.includes('absent') ? '{"message":"No such container: absent"}' : undefined);
  });
  await new Promise<void>((resolve) => server.listen(join(folder, 's'), resolve));
});

afterAll(() => {
  server.close();
  rmSync(folder, { recursive: true });
});

/** As the program does it: made by hand and run by oclif's own `_run`, which its next version may change. */
const run = async (...argv: string[]): Promise<void> => {
  asked = [];
  const found = findCommand(argv);
  if (!found) throw new Error('no such command');
  const config = Object.assign(new Config({ root: folder }), { bin: 'gantry', name: 'gantry', version: '0' });
  const command = new (await found.entry.load()).default(argv.slice(found.used), config);
  command.invocation = {
    words: argv.slice(0, found.used).join(' '),
    summary: '',
    aliases: [],
    traces: false,
    endpoint: {
      hosts: [`unix://${folder}/s`],
      config: folder,
      tls: undefined,
      tlsVerify: undefined,
      tlsCa: undefined,
      tlsCert: undefined,
      tlsKey: undefined,
    },
  };
  await command['_run']();
};

describe('a command', () => {
  it('runs on the engine that it was given, in the version that both speak', async () => {
    await run('container', 'rename', 'a', 'b');
    expect(asked).toEqual(['HEAD /_ping', 'POST /v1.44/containers/a/rename?name=b']);
  });

  it('is found by its short and its long name', async () => {
    await run('rename', 'a', 'b');
    expect(asked).toHaveLength(2);
    expect(findCommand(['image', 'list'])?.entry.words).toBe('image ls');
    expect(findCommand(['images'])?.entry.words).toBe('image ls');
    expect(findCommand(['ps', '-a'])?.used).toBe(1);
    expect(findCommand(['image'])).toBeUndefined();
  });

  it('goes on with the other names when one fails, and fails in the end', async () => {
    await expect(run('pause', 'absent', 'b')).rejects.toThrow(new SeveralErrors(['Error response from daemon: No such container: absent']));
    expect(asked).toContain('POST /v1.44/containers/b/pause');
  });

  it('asks nobody when the line is wrong', async () => {
    await expect(run('rename', 'a')).rejects.toThrow(new ArityError("'gantry rename' requires 2 arguments"));
    await expect(run('ps', 'a')).rejects.toThrow("'gantry ps' accepts no arguments");
    await expect(run('stop')).rejects.toThrow("'gantry stop' requires at least 1 argument");
    await expect(run('port', 'a', 'b', 'c')).rejects.toThrow("'gantry port' requires at least 1 and at most 2 arguments");
    await expect(run('rm', '--nosuch', 'a')).rejects.toThrow(UsageError);
    await expect(run('run', '--help')).rejects.toThrow(HelpRequest);
    expect(asked).toEqual([]);
  });

  it('can be loaded and has help, every one of them', async () => {
    const letters = /(^| )-(\w), --/;
    for (const entry of commands) {
      const command = (await entry.load()).default;
      const help = commandHelp(entry.words, entry, command);
      expect(help).toContain(`Usage:  gantry ${entry.words}`);
      const used = help.split('\n').flatMap((line) => letters.exec(line)?.[2] ?? []);
      expect(new Set(used).size, entry.words).toBe(used.length);
    }
    const names = commands.flatMap((entry) => [entry.words, ...(entry.also ?? [])]);
    expect(names.filter((name, at) => names.indexOf(name) !== at && !name.startsWith('container '))).toEqual([]);
  });
});
