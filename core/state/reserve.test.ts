import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { silentLog } from '../../test/fakes/settings.js';
import { Reserve } from './reserve.js';

describe('the space in reserve', () => {
  let folder: string;
  let path: string;
  let reserve: Reserve;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'gantry-reserve-'));
    path = join(folder, 'reserve');
    reserve = new Reserve(path, silentLog);
    reserve.refill();
  });
  afterEach(() => {
    reserve.close();
    rmSync(folder, { recursive: true });
  });

  it('is given up once, for what frees space and all that follows from it', async () => {
    reserve.started();
    expect(statSync(path)).toMatchObject({ size: 8 << 20 });
    expect(reserve.giveUp()).toBe(false);
    const [first, second] = await reserve.whileFreeing(async () => {
      await sleep(1);
      return [reserve.giveUp(), reserve.giveUp()];
    });
    expect([first, second, existsSync(path)]).toEqual([true, false, false]);
    expect(reserve.giveUp()).toBe(false);
    reserve.refill();
    expect(existsSync(path)).toBe(true);
  });

  it('is there for a start of the daemon', () => {
    expect(reserve.giveUp()).toBe(true);
    expect(existsSync(path)).toBe(false);
    reserve.open();
    reserve.started();
    expect(existsSync(path)).toBe(true);
    expect(reserve.giveUp()).toBe(false);
  });

  it('is not missed where there is no room for it', () => {
    const nowhere = new Reserve(join(folder, 'missing', 'reserve'), silentLog);
    nowhere.refill();
    expect(nowhere.giveUp()).toBe(false);
  });
});
