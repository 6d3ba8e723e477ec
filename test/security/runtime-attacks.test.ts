import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { busybox } from '../conformance/runtime-bundle.js';
import { Arena } from './arena.js';
import type { Attack } from './attack.js';
import { attacksOnLimits } from './attacks-on-limits.js';
import { attacksOnPaths } from './attacks-on-paths.js';
import { attacksOnProcesses } from './attacks-on-processes.js';

const attacks: readonly Attack[] = [...attacksOnProcesses, ...attacksOnPaths, ...attacksOnLimits];

const root = fileURLToPath(new URL('../..', import.meta.url));
const real = `${root}native/build/bin/gantry-runtime`;
const naive = `${root}native/build/naive/bin/gantry-runtime`;

const missing =
  process.getuid?.() !== 0
    ? 'needs root'
    : !existsSync(busybox)
      ? 'needs /bin/busybox'
      : !existsSync(real)
        ? 'needs the native build'
        : undefined;

/** Builds the runtime without its defences; says why it cannot. */
function buildNaive(): string | undefined {
  const configured = spawnSync(
    'cmake',
    ['-S', 'native', '-B', 'native/build/naive', '-G', 'Ninja', '-DGANTRY_NAIVE=ON', '-DCMAKE_BUILD_TYPE=Debug'],
    {
      cwd: root,
      encoding: 'utf8',
    },
  );
  // What was built elsewhere, on a machine with compilers, will do.
  if (configured.status !== 0)
    return existsSync(naive) ? undefined : `the naive runtime does not configure: ${configured.stderr ?? configured.error}`;
  const targets = ['gantry-runtime', 'gantry-seccomp', 'intruder'];
  const built = spawnSync('cmake', ['--build', 'native/build/naive', '--target', ...targets], { cwd: root, encoding: 'utf8' });
  return built.status === 0 ? undefined : `the naive runtime does not build: ${built.stdout.slice(-2000)}`;
}

function attempt(program: string, attack: Attack): string | undefined {
  const arena = new Arena(program);
  try {
    return attack.attempt(arena);
  } finally {
    arena.close();
  }
}

if (missing) {
  console.log(`skipped: attacks on the runtime: ${missing}`);
  describe.skip(`gantry-runtime under attack (skipped: ${missing})`, () => it('holds', () => {}));
} else {
  beforeAll(() => {
    expect(buildNaive()).toBeUndefined();
  }, 1_800_000);

  describe('gantry-runtime holds against', () => {
    it.each(attacks.map((attack) => [attack.name, attack] as const))(
      '%s',
      (_, attack) => {
        expect(attempt(real, attack)).toBeUndefined();
      },
      600_000,
    );

    it('no test of it by being the naive build', () => {
      expect(spawnSync(real, ['--version'], { encoding: 'utf8' }).stdout).not.toContain('naive');
    });
  });

  describe('a naive runtime, which shows that the tests can fail, gives way to', () => {
    it.each(attacks.map((attack) => [attack.name, attack] as const))(
      '%s',
      (_, attack) => {
        const achieved = attempt(naive, attack);
        expect(achieved).toBeDefined();
        expect(achieved).not.toContain('the attack itself did not work');
      },
      600_000,
    );
  });
}
