import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Engine, whyNoEngine } from './engine.js';

const why = whyNoEngine();
if (why) console.log(`skipped: a daemon under a service manager: ${why}`);

describe.skipIf(why)('a daemon under a service manager', () => {
  let engine: Engine;
  const folder = mkdtempSync('/tmp/gantry-service-');
  const socket = join(folder, 'api.sock');
  const log = join(folder, 'said');
  const said = (): string[] => (existsSync(log) ? readFileSync(log, 'utf8').trim().split('\n') : []);
  const told = (what: RegExp, times = 1): Promise<void> =>
    expect.poll(() => said().filter((line) => what.test(line)).length, { timeout: 60_000 }).toBe(times);

  beforeAll(async () => {
    const manager = fileURLToPath(new URL('service-manager.py', import.meta.url));
    const daemon = fileURLToPath(new URL('../../cli/bin/gantryd', import.meta.url));
    engine = await Engine.start(['--bridge', 'none', '--host', 'fd://'], ['python3', manager, socket, log, daemon]);
  });
  afterAll(async () => {
    await engine.stop();
    rmSync(folder, { recursive: true });
  });

  it('answers on the socket that was handed over, and says when it is ready', async () => {
    await told(/^READY=1/);
    const { code, stdout } = engine.docker(['--host', `unix://${socket}`, 'info', '-f', '{{.ServerVersion}}']);
    expect({ code, version: stdout.trim() }).toEqual({ code: 0, version: expect.stringMatching(/^\d+\./) });
  });

  it('says that it reads its configuration anew, and when that is over', async () => {
    process.kill(engine.pid, 'SIGHUP');
    await told(/^RELOADING=1 MONOTONIC_USEC=\d+$/);
    await told(/^READY=1/, 2);
  });

  it('says that it stops, and leaves the socket to whom it belongs', async () => {
    await engine.down();
    await told(/^STOPPING=1/);
    expect(existsSync(socket)).toBe(true);
  });
});
