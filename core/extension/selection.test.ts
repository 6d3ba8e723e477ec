import { describe, expect, it } from 'vitest';
import type { DriverKind, Probe } from '../contracts/manifest.js';
import { selectStorageDriver } from './selection.js';

const drivers = (answers: Readonly<Record<string, Probe>>) => ({
  names: () => Object.keys(answers),
  probe: async (_: DriverKind, name: string): Promise<Probe> => answers[name] ?? { ok: false, reason: 'no such storage driver' },
});
const ok: Probe = { ok: true };
const no: Probe = { ok: false, reason: 'no overlay file system' };
const none = async (): Promise<boolean> => false;

describe('the default storage driver', () => {
  it('is the best that the host serves', async () => {
    expect(await selectStorageDriver(drivers({ vfs: ok, overlay2: ok }), '', none)).toMatchObject({ name: 'overlay2' });
  });

  it('says why a better one was passed over', async () => {
    const { name, reason } = await selectStorageDriver(drivers({ vfs: ok, overlay2: no }), '', none);
    expect(name).toBe('vfs');
    expect(reason).toContain('overlay2: no overlay file system');
  });

  it('is the one that keeps images from before, so that none is hidden', async () => {
    expect(await selectStorageDriver(drivers({ vfs: ok, overlay2: ok }), '', async (name) => name === 'vfs')).toMatchObject({
      name: 'vfs',
    });
  });

  it('is the configured one, or nothing', async () => {
    expect(await selectStorageDriver(drivers({ vfs: ok, overlay2: ok }), 'vfs', none)).toEqual({ name: 'vfs', reason: 'configured' });
    await expect(selectStorageDriver(drivers({ vfs: ok, overlay2: no }), 'overlay2', none)).rejects.toMatchObject({
      kind: 'unavailable',
      message: expect.stringContaining('no overlay file system') as string,
    });
    await expect(selectStorageDriver(drivers({ vfs: ok }), 'aufs', none)).rejects.toMatchObject({ kind: 'not-found' });
  });

  it('is none on a host that serves none', async () => {
    await expect(selectStorageDriver(drivers({ overlay2: no }), '', none)).rejects.toMatchObject({ kind: 'unavailable' });
  });
});
