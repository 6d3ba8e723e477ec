import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { silentLog } from '@gantry/test/fakes/settings.js';
import { readEndpoint, RemoteNames } from './remote-names.js';

const endpoint = {
  endpointId: 'a1'.repeat(32),
  networkId: 'b2'.repeat(32),
  owner: 'web',
  ipv4: '10.0.0.2',
  ipv6: '',
  names: ['web', 'www'],
};

describe('a container on another host', () => {
  it('is believed as far as it can be one', () => {
    expect(readEndpoint(endpoint)).toEqual(endpoint);
    expect(readEndpoint({ ...endpoint, names: ['web', 'x\nsandbox evil', '', 7, '-x'] })?.names).toEqual(['web']);
    for (const wrong of [
      { endpointId: 'a1' },
      { endpointId: `${'a1'.repeat(31)}\nx` },
      { networkId: 1 },
      { owner: 'web\nno-network x' },
      { ipv4: '10.0.0.2 10.0.0.3' },
      { ipv6: '10.0.0.2' },
      { names: 'web' },
    ])
      expect(readEndpoint({ ...endpoint, ...wrong })).toBeUndefined();
  });
});

describe('the names of other hosts', () => {
  let folder: string;
  beforeEach(() => void (folder = mkdtempSync(join(tmpdir(), 'gantry-names-'))));
  afterEach(() => rmSync(folder, { recursive: true }));

  it('are there again for the next daemon', () => {
    const path = join(folder, 'names.json');
    const names = new RemoteNames(path, silentLog);
    expect(names.load()).toEqual([]);
    names.put(endpoint);
    expect(names.drop('c3'.repeat(32))).toBe(false);
    names.save();
    expect(new RemoteNames(path, silentLog).load()).toEqual([endpoint]);
    expect(names.drop(endpoint.endpointId)).toBe(true);
    names.save();
    expect(JSON.parse(readFileSync(path, 'utf8'))).toEqual([]);
  });

  it('are forgotten when their file is torn', () => {
    const path = join(folder, 'names.json');
    writeFileSync(path, '[{"endpo');
    expect(new RemoteNames(path, silentLog).load()).toEqual([]);
  });
});
