import { describe, expect, it } from 'vitest';
import { apart, parseCgroups } from './cgroup.js';
import { parseV1Blkio, parseV2Io } from './cgroup-usage.js';

const v1 = (path: string): string => `5:memory:${path}\n4:cpu,cpuacct:${path}\n1:freezer:${path}\n0::/\n`;

describe('where a container is', () => {
  it('is read for either version, the old one where it has the memory controller', () => {
    expect(parseCgroups('0::/gantry/abc\n')).toEqual({ version: 2, folder: '/sys/fs/cgroup/gantry/abc' });
    const hybrid = parseCgroups(v1('/gantry/abc'));
    expect(hybrid?.version).toBe(1);
    expect(hybrid?.version === 1 && [...hybrid.folders]).toEqual([
      ['memory', '/sys/fs/cgroup/memory/gantry/abc'],
      ['cpu', '/sys/fs/cgroup/cpu/gantry/abc'],
      ['cpuacct', '/sys/fs/cgroup/cpuacct/gantry/abc'],
      ['freezer', '/sys/fs/cgroup/freezer/gantry/abc'],
    ]);
  });

  it('is nowhere in the root of the hierarchy', () => {
    expect(parseCgroups('0::/\n')).toBeUndefined();
    expect(parseCgroups('nonsense')).toBeUndefined();
  });

  it('is never a folder that holds the daemon', () => {
    const of = (path: string) => parseCgroups(`0::${path}\n`);
    expect(apart(of('/system.slice/gantryd'), of('/system.slice/gantryd'))).toBeUndefined();
    expect(apart(of('/system.slice'), of('/system.slice/gantryd'))).toBeUndefined();
    expect(apart(of('/system.slice/gantryd/abc'), of('/system.slice/gantryd'))).toBeDefined();
    expect(apart(of('/system.slice/gantryd2'), of('/system.slice/gantryd'))).toBeDefined();
    expect(apart(parseCgroups(v1('/x')), parseCgroups(v1('/x/y')))).toEqual({ version: 1, folders: new Map() });
  });
});

describe('what a container read and wrote', () => {
  it('is told for each device and direction', () => {
    expect(parseV2Io('8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n')).toEqual([
      { major: 8, minor: 0, op: 'read', bytes: 10, ios: 1 },
      { major: 8, minor: 0, op: 'write', bytes: 20, ios: 2 },
    ]);
    expect(parseV1Blkio('8:0 Read 10\n8:0 Write 20\nTotal 30\n', '8:0 Read 1\nTotal 1\n')).toEqual([
      { major: 8, minor: 0, op: 'read', bytes: 10, ios: 1 },
      { major: 8, minor: 0, op: 'write', bytes: 20, ios: 0 },
    ]);
  });
});
