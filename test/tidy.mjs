// clang-tidy over the C++ sources, two files at a time: those that differ from what the main branch has (or from the last commit, on the
// main branch itself), or with --all every one. Its checks are in .clang-tidy; the compile commands are those of the last build.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const git = (...args) => spawnSync('git', args, { cwd: root, encoding: 'utf8' }).stdout.split('\n').filter(Boolean);

// Programs that are compiled by another compiler in one call have no compile commands, the tests are not in the build, and one source takes
// a flag that clang does not know.
const separate = /^native\/((shim|init|test|fuzz|companion|dns|proxy)\/|runtime\/entry\.cc)/;
const flags = [
  '-std=c++20',
  '-D_GNU_SOURCE',
  '-D_FILE_OFFSET_BITS=64',
  '-Inative/include',
  '-Inative/runtime',
  '-Inative/shim',
  '-Inative/companion',
  '-Inative',
];

function sources(all) {
  const every = git('ls-files', 'native/*.cc');
  if (all) return every;
  const base = git('merge-base', 'HEAD', 'main')[0] ?? 'HEAD';
  const changed = new Set([
    ...git('diff', '--name-only', base, '--', 'native'),
    ...git('ls-files', '--others', '--exclude-standard', 'native'),
  ]);
  // A header is looked at with the source that is named like it.
  const touched = (source) => changed.has(source) || changed.has(source.replace(/\.cc$/, '.h'));
  return [...new Set([...every, ...changed])].filter((path) => path.endsWith('.cc') && existsSync(join(root, path)) && touched(path));
}

const files = sources(process.argv.includes('--all'));
const left = [...files];
let failed = 0;

async function worker() {
  for (let file = left.shift(); file !== undefined; file = left.shift()) {
    const words = separate.test(file) ? ['--quiet', file, '--', ...flags] : ['--quiet', '-p', 'native/build', file];
    const child = spawn('clang-tidy', words, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    child.stdout.on('data', (chunk) => (output += chunk));
    // How many warnings were suppressed in headers of others is of no interest.
    child.stderr.on('data', (chunk) => (output += /error:/.test(String(chunk)) ? chunk : ''));
    const status = await new Promise((done) => child.on('close', done));
    if (status === 0 && output.trim() === '') continue;
    failed++;
    console.log(output.trim());
  }
}

await Promise.all([worker(), worker()]);
console.log(`clang-tidy: ${files.length} files, ${failed} with findings`);
process.exit(failed === 0 ? 0 : 1);
