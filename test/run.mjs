// `npm test`: C++ tests, lint and every vitest suite. Arguments go to vitest (a path runs that alone).
// The last line counts them all: "N passed, N failed, N skipped".
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, existsSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const out = join(root, 'test', 'build');
rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });

let passed = 0;
let failed = 0;
let skipped = 0;
const skips = [];
const chosen = process.argv.slice(2);

const run = (command, args, options = {}) => spawnSync(command, args, { cwd: root, stdio: 'inherit', ...options });

/** One check that either holds or not. */
function check(name, command, args) {
  console.log(`\n# ${name}`);
  const { status } = run(command, args);
  if (status === 0) passed++;
  else {
    failed++;
    console.log(`${name}: failed`);
  }
}

if (chosen.length === 0) {
  check('oxlint', 'oxlint', ['--quiet']);
  check('oxfmt', 'oxfmt', ['--check']);
  check('clang-format', 'sh', ['-c', "git ls-files 'native/*.cc' 'native/*.h' | xargs clang-format --dry-run --Werror"]);

  console.log('\n# C++ under AddressSanitizer and UndefinedBehaviorSanitizer');
  const build = join(root, 'native', 'build', 'sanitized');
  const configured = run(
    'cmake',
    ['-S', 'native', '-B', build, '-G', 'Ninja', '-DGANTRY_TESTS=ON', '-DGANTRY_SANITIZE=ON', '-DCMAKE_BUILD_TYPE=Debug'],
    { stdio: 'pipe', encoding: 'utf8' },
  );
  const built = configured.status === 0 ? run('cmake', ['--build', build], { stdio: 'pipe', encoding: 'utf8' }) : configured;
  if (built.status !== 0) {
    console.log(`${built.stdout}\n${built.stderr}`.split('\n').slice(-60).join('\n'));
    console.log('the C++ tests do not build');
    failed++;
  } else {
    const junit = join(out, 'ctest.xml');
    run('ctest', ['--test-dir', build, '--output-on-failure', '--no-tests=ignore', '--output-junit', junit, '--timeout', '300']);
    if (existsSync(junit)) {
      const suite = /<testsuite[^>]*>/.exec(readFileSync(junit, 'utf8'))?.[0] ?? '';
      const count = (name) => Number(new RegExp(`\\b${name}="(\\d+)"`).exec(suite)?.[1] ?? 0);
      const bad = count('failures') + count('errors');
      failed += bad;
      skipped += count('skipped') + count('disabled');
      passed += count('tests') - bad - count('skipped') - count('disabled');
    }
  }
}

/** What vitest says of `files` (all when there are none): its report, or undefined when it left none. */
function vitest(name, files) {
  const report = join(out, `${name}.json`);
  const { status } = run(process.execPath, [
    'node_modules/vitest/vitest.mjs',
    'run',
    '--config',
    'test/vitest.config.ts',
    '--reporter=default',
    '--reporter=json',
    `--outputFile.json=${report}`,
    ...files,
  ]);
  return existsSync(report) ? { status, ...JSON.parse(readFileSync(report, 'utf8')) } : undefined;
}

/** The tests of a report that failed, as "file: name" with their first line of error; a file that cannot be loaded is one. */
function failures(report) {
  const found = new Map();
  for (const file of report.testResults) {
    const name = relative(root, file.name);
    const bad = file.assertionResults.filter((test) => test.status === 'failed');
    for (const test of bad) found.set(`${name}: ${test.fullName}`, (test.failureMessages[0] ?? '').split('\n')[0]);
    if (file.status === 'failed' && bad.length === 0) found.set(`${name}: the file`, (file.message ?? '').split('\n')[0]);
  }
  return found;
}

console.log('\n# vitest');
const first = vitest('vitest', chosen);
const passing = new Map();
let lasting = new Map();
if (first === undefined) {
  failed++;
  console.log('vitest left no report');
} else {
  const bad = failures(first);
  const files = [...new Set([...bad.keys()].map((name) => name.slice(0, name.indexOf(': '))))];
  // A few files that fail on a machine full of others are run once more alone. What passes then counts as passed and is
  // named below all the same: it depends on time, which is a defect of its own. More than a few is no accident.
  const again = files.length > 0 && files.length <= 5 && chosen.length === 0;
  if (again) console.log(`\n# once more, alone: ${files.join(', ')}`);
  const last = (again ? vitest('again', [...files, '--no-file-parallelism']) : undefined) ?? first;
  lasting = failures(last);
  for (const [name, error] of bad) if (!lasting.has(name)) passing.set(name, error);
  const kept = last === first ? [] : first.testResults.filter((file) => !files.includes(relative(root, file.name)));
  for (const file of [...kept, ...last.testResults]) {
    for (const test of file.assertionResults) {
      if (test.status === 'passed') passed++;
      else if (test.status !== 'failed') skips.push(test.fullName);
    }
  }
  failed += lasting.size;
  skipped += skips.length;
  if (last.status !== 0 && failed === 0) failed++;
}

const list = (title, lines) => {
  if (lines.length > 0) console.log(`\n${title}:\n${lines.map((line) => `  ${line}`).join('\n')}`);
};
list('Skipped', skips);
list(
  'Failed beside the others, passed alone',
  [...passing].map(([name, error]) => `${name}\n    ${error}`),
);
list(
  'Failed',
  [...lasting].map(([name, error]) => `${name}\n    ${error}`),
);
console.log(`\n${passed} passed, ${failed} failed, ${skipped} skipped`);
process.exit(failed === 0 && passed > 0 ? 0 : 1);
