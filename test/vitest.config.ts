import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

// A machine that is so many times slower says so, and every limit of time is as many times longer.
const slow = Number(process.env['GANTRY_SLOW'] ?? 1);
const root = fileURLToPath(new URL('..', import.meta.url));

// Tests run from the TypeScript source: an import of a workspace finds the file itself, not what was last compiled.
export default defineConfig({
  root,
  resolve: {
    alias: [{ find: /^@gantry\/(core|drivers|plugins|native|cli|test)\/(.*)\.js$/, replacement: `${root}$1/$2.ts` }],
  },
  test: {
    include: ['{core,drivers,plugins,native,cli,test}/**/*.test.ts'],
    exclude: ['**/node_modules/**', '**/dist/**', '**/build/**'],
    setupFiles: [`${root}test/setup.ts`],
    testTimeout: 120_000 * slow,
    hookTimeout: 240_000 * slow,
    expect: { poll: { timeout: 60_000 * slow } },
    pool: 'forks',
    // Files share one kernel: links, address ranges and the time that things take are told apart only one file after the other.
    fileParallelism: false,
  },
});
