// `npm test`: C++ tests, lint and every vitest suite. Arguments go to vitest (a path runs that alone).
// The last line counts them all: "N passed, N failed, N skipped".
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
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

console.log('\n# vitest');
const report = join(out, 'vitest.json');
const vitest = run(process.execPath, [
  'node_modules/vitest/vitest.mjs',
  'run',
  '--config',
  'test/vitest.config.ts',
  '--reporter=default',
  '--reporter=json',
  `--outputFile.json=${report}`,
  ...chosen,
]);
if (existsSync(report)) {
  const json = JSON.parse(readFileSync(report, 'utf8'));
  passed += json.numPassedTests;
  failed += json.numFailedTests;
  skipped += json.numPendingTests + json.numTodoTests;
  for (const file of json.testResults) {
    // A file that cannot be loaded has no test to fail.
    if (file.status === 'failed' && !file.assertionResults.some((test) => test.status === 'failed')) failed++;
    for (const test of file.assertionResults) if (test.status === 'pending' || test.status === 'skipped') skips.push(test.fullName);
  }
} else {
  failed++;
  console.log('vitest left no report');
}
if (vitest.status !== 0 && failed === 0) failed++;

if (skips.length > 0) console.log(`\nSkipped:\n${skips.map((name) => `  ${name}`).join('\n')}`);
console.log(`\n${passed} passed, ${failed} failed, ${skipped} skipped`);
process.exit(failed === 0 && passed > 0 ? 0 : 1);
