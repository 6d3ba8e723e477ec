import { accessSync, constants, cpSync, existsSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { BaseCommand, print } from '../../base-command.js';
import { flag } from '../../flags.js';
import { scaffold, type ScaffoldKind, scaffoldKinds } from '../../plugin/scaffold.js';
import { version } from '../../version.js';

const NAME = /^[a-z0-9][a-z0-9_.-]*$/;

export default class Init extends BaseCommand {
  static override usage = 'DIR';
  static override arity = { least: 1, most: 1 };
  static override flags = {
    kind: flag.string({ description: scaffoldKinds.join(', '), initial: 'volume' }),
    name: flag.string({ description: "The plugin's name (the folder's unless told)" }),
  };

  async run(): Promise<void> {
    const { flags, args } = this.read(Init);
    const folder = resolve(args[0] as string);
    const name = flags.name || basename(folder);
    if (!NAME.test(name)) throw new Error(`${JSON.stringify(name)} is no name for a plugin: lower case letters, digits, _ . and - are`);
    if (!(scaffoldKinds as string[]).includes(flags.kind))
      throw new Error(`unknown kind ${JSON.stringify(flags.kind)}: ${scaffoldKinds.join(', ')} are known`);
    if (existsSync(folder) && readdirSync(folder).length > 0) throw new Error(`${folder} is there and not empty`);
    const sdk = 'vendor/gantry-plugin-sdk';
    mkdirSync(join(folder, 'node_modules'), { recursive: true });
    copySdk(join(folder, sdk));
    // As `npm install` would link it, so that nothing needs to be installed.
    symlinkSync(join('..', sdk), join(folder, 'node_modules/gantry-plugin-sdk'));
    for (const [file, text] of Object.entries(scaffold(name, flags.kind as ScaffoldKind, sdk))) writeFileSync(join(folder, file), text);
    print(`${folder} holds a ${flags.kind} plugin that works: gantry plugin dev ${args[0] as string}`);
  }
}

/** The kit travels with the plugin: it has no dependencies, and the plugin then has none either. */
function copySdk(to: string): void {
  const compiled = compiledSdk();
  cpSync(compiled, join(to, 'dist'), { recursive: true, filter: (path) => !path.endsWith('.map') });
  const exported = (path: string): object => ({ types: `./dist/${path}.d.ts`, default: `./dist/${path}.js` });
  const manifest = {
    name: 'gantry-plugin-sdk',
    version,
    license: 'Apache-2.0',
    type: 'module',
    exports: { '.': exported('index'), './check': exported('check/index') },
  };
  writeFileSync(join(to, 'package.json'), `${JSON.stringify(manifest, undefined, 2)}\n`);
}

/** Beside this program: this file is compiled, a source, or a part of the bundle. */
function compiledSdk(): string {
  const candidates = ['../../../../plugins/dist/sdk', '../../../plugins/dist/sdk'].map((path) =>
    fileURLToPath(new URL(path, import.meta.url)),
  );
  for (const path of candidates) {
    try {
      accessSync(join(path, 'index.js'), constants.R_OK);
      return path;
    } catch {
      // The next place may have it.
    }
  }
  throw new Error(`the kit for plugins is not where this program is (${candidates.join(', ')})`);
}
