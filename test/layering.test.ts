import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));

interface Import {
  readonly from: string;
  readonly to: string;
  readonly typeOnly: boolean;
}

function sources(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return ['node_modules', 'dist', 'build'].includes(entry.name) ? [] : sources(path);
    return entry.name.endsWith('.ts') && !entry.name.endsWith('.d.ts') ? [path] : [];
  });
}

/** What one file imports, as paths from the root; packages of others keep their names. */
function importsOf(path: string): Import[] {
  const from = relative(root, path);
  const text = readFileSync(path, 'utf8');
  const found: Import[] = [];
  for (const match of text.matchAll(/^\s*(?:import|export)\s+(type\s+)?(?:[^'";]*?\sfrom\s+)?['"]([^'"]+)['"]/gm)) {
    const spec = match[2] ?? '';
    const to = spec.startsWith('.')
      ? relative(root, resolve(dirname(path), spec))
      : spec.startsWith('@gantry/')
        ? spec.slice('@gantry/'.length)
        : spec;
    found.push({ from, to: to.replace(/\.js$/, ''), typeOnly: match[1] !== undefined });
  }
  return found;
}

const folders = ['core', 'drivers', 'plugins', 'native', 'cli'];
const ours = (path: string) => new RegExp(`^(${folders.join('|')}|test)/`).test(path);
const production = folders.flatMap((folder) => sources(join(root, folder))).filter((path) => !path.endsWith('.test.ts'));
const imports = production.flatMap(importsOf).filter((entry) => ours(entry.to));

/** The first rule whose `from` fits decides. */
const rules: { from: RegExp; may: RegExp; say: string }[] = [
  { from: /^core\/contracts\//, may: /^core\/contracts\//, say: 'core/contracts imports nothing' },
  { from: /^core\/tokens$/, may: /^core\//, say: 'tokens name the services of core' },
  {
    from: /^core\/(state|extension)\//,
    may: /^core\/(contracts|tokens|state|extension|system\/settings)/,
    say: 'state and extension know contracts alone',
  },
  { from: /^core\/api\//, may: /^core\/(contracts|api|tokens)/, say: 'core/api knows contracts and the types of services' },
  { from: /^core\//, may: /^core\//, say: 'core imports core' },
  { from: /^drivers\//, may: /^(core\/contracts|drivers)\//, say: 'a driver imports core/contracts and its own kind' },
  { from: /^plugins\/(sdk|examples)\//, may: /^plugins\/sdk\/|^plugins\/examples\//, say: 'the kit for authors is a package of its own' },
  { from: /^plugins\//, may: /^(core\/contracts|plugins)\//, say: 'plugins import core/contracts' },
  { from: /^native\//, may: /^(core\/contracts|native)\//, say: 'native imports core/contracts' },
  { from: /^cli\/gantryd\//, may: /^(core|drivers|plugins|native|cli)\//, say: 'cli/gantryd sees everybody' },
  {
    from: /^cli\/(commands\/plugin|plugin)\//,
    may: /^(cli\/(?!gantryd)|core\/api\/.*\/schema$|plugins\/sdk\/)/,
    say: 'commands for authors of plugins use the kit, and the engine over HTTP alone',
  },
  { from: /^cli\//, may: /^(cli\/(?!gantryd)|core\/api\/.*\/schema$)/, say: 'the CLI reaches the engine over HTTP alone' },
];

describe('who may import whom', () => {
  it('has found the sources', () => {
    expect(production.length).toBeGreaterThan(40);
    expect(imports.length).toBeGreaterThan(100);
  });

  it('keeps the table of the README', () => {
    const broken = imports.flatMap(({ from, to, typeOnly }) => {
      const rule = rules.find((candidate) => candidate.from.test(from.replace(/\.ts$/, '')));
      if (!rule || rule.may.test(to)) return [];
      // The API may name a service's types; the values come from the composition root.
      if (typeOnly && from.startsWith('core/api/') && to.startsWith('core/')) return [];
      return [`${from} imports ${to}: ${rule.say}`];
    });
    expect(broken).toEqual([]);
  });

  it('keeps a driver away from other drivers', () => {
    const broken = imports.filter(({ from, to }) => {
      const mine = /^drivers\/(\w+)\/([^/]+)\//.exec(from);
      const theirs = /^drivers\/(\w+)\/([^/]+)\//.exec(to);
      return mine && theirs && (mine[1] !== theirs[1] || mine[2] !== theirs[2]);
    });
    expect(broken.map(({ from, to }) => `${from} imports ${to}`)).toEqual([]);
  });

  it('lets no production file import a test', () => {
    expect(
      imports.filter(({ to }) => to.startsWith('test/') || to.endsWith('.test')).map(({ from, to }) => `${from} imports ${to}`),
    ).toEqual([]);
  });

  it('has one composition root and one place that loads the addon', () => {
    const text = (path: string) => readFileSync(path, 'utf8');
    const holders = production
      .filter((path) => /from 'tsyringe'/.test(text(path)) && /\bcontainer\b.*from 'tsyringe'/.test(text(path)))
      .map((path) => relative(root, path));
    expect(holders.filter((path) => path !== 'cli/gantryd/compose.ts')).toEqual([]);
    const loaders = production.filter((path) => /gantry\.node/.test(text(path))).map((path) => relative(root, path));
    expect(loaders).toEqual(['native/addon.ts']);
  });

  it('starts no program by child_process where a container waits for it', () => {
    const users = production.filter((path) => /child_process/.test(readFileSync(path, 'utf8'))).map((path) => relative(root, path));
    // The CLI starts the daemon and asks credential helpers; examples and checks of plugins run in processes of their own; nothing in
    // the engine forks Node.
    const elsewhere = /^(cli\/(?!gantryd\/)|plugins\/(examples|sdk\/check)\/)/;
    expect(users.filter((path) => !elsewhere.test(path))).toEqual([]);
  });
});
