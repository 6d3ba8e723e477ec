import { describe, expect, it } from 'vitest';
import { host } from './index.js';

describe('the addon for device-mapper', () => {
  it('answers on any kernel: with a version, or with why there is none', async (context) => {
    let devices;
    try {
      devices = host.devices?.();
    } catch (error) {
      return context.skip(`this build has no part for device-mapper, or libdevmapper is missing: ${String(error)}`);
    }
    const answer = await devices?.version().catch((error: unknown) => error as NodeJS.ErrnoException);
    if (answer instanceof Error) expect(answer.code).toMatch(/^E[A-Z]+$/);
    else expect(answer).toMatch(/^\d+\.\d+/);
  });
});
