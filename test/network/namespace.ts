import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const MARK = 'GANTRY_TEST_NAMESPACE';
const root = fileURLToPath(new URL('../..', import.meta.url));

const SLOWNESS = Number(process.env['GANTRY_SLOW'] ?? 1);

const TOOLS = ['unshare', 'nsenter', 'ip', 'nft', 'bash', 'timeout'];

/** Why these tests cannot run here, if they cannot. */
function missing(): string | undefined {
  if (process.getuid?.() !== 0) return 'needs root';
  const tool = TOOLS.find((name) => spawnSync('sh', ['-c', `command -v ${name}`]).status !== 0);
  return tool && `needs the program ${tool}`;
}

/**
 * Tests whose host is a network namespace: the file is run once more, by a test runner of its own inside a new namespace,
 * and there `body` runs. The machine's links, routes, rules and sysctls are not touched.
 */
export function inOwnNamespace(file: string, body: () => void): void {
  if (process.env[MARK]) {
    body();
    return;
  }
  const reason = missing();
  describe('in a network namespace of its own', () => {
    it.skipIf(reason)(
      'passes',
      () => {
        const command = 'ip link set lo up && exec "$0" "$@"';
        const flags = (process.env['GANTRY_VITEST_FLAGS'] ?? '').split(' ').filter((flag) => flag !== '');
        const args = [
          'node_modules/vitest/vitest.mjs',
          'run',
          '--config',
          'test/vitest.config.ts',
          '--testTimeout=120000',
          ...flags,
          fileURLToPath(file),
        ];
        const child = spawnSync('unshare', ['--net', 'sh', '-c', command, process.execPath, ...args], {
          cwd: root,
          encoding: 'utf8',
          timeout: 600_000 * SLOWNESS,
          env: { ...process.env, [MARK]: '1', FORCE_COLOR: '0' },
        });
        if (child.status !== 0) console.log(`${child.stdout}\n${child.stderr}`);
        expect(child.status).toBe(0);
      },
      610_000 * SLOWNESS,
    );
    if (reason) console.log(`skipped ${file}: ${reason}`);
  });
}
