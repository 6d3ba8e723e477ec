import { describe, expect, it } from 'vitest';
import { changedBindings, pinned } from './ports.js';

const any = (hostPort: string, hostIp = ''): { hostIp: string; hostPort: string } => ({ hostIp, hostPort });

describe('a change of published ports', () => {
  const old = { '80/tcp': [any('8080'), any('8081', '127.0.0.1')], '53/udp': [any('')] };

  it('adds to what is there and takes away what is named', () => {
    expect(changedBindings(old, { add: { '443/tcp': [any('8443')] }, remove: {} })).toEqual({ ...old, '443/tcp': [any('8443')] });
    expect(changedBindings(old, { add: { '80/tcp': [any('9000')] }, remove: { '53/udp': [] } })).toEqual({
      '80/tcp': [any('8080'), any('8081', '127.0.0.1'), any('9000')],
    });
    expect(changedBindings(old, { add: {}, remove: { '80/tcp': [any('8081')] } })['80/tcp']).toEqual([any('8080')]);
  });

  it('refuses what is there already, and to remove what is not', () => {
    expect(() => changedBindings(old, { add: { '80/tcp': [any('8080')] }, remove: {} })).toThrow(/already published/);
    expect(() => changedBindings(old, { add: {}, remove: { '81/tcp': [] } })).toThrow(/no such published port: 81/);
    expect(() => changedBindings(old, { add: {}, remove: { '80/tcp': [any('8080', '10.0.0.1')] } })).toThrow(/10.0.0.1:8080:80/);
  });

  it('leaves the record that it was given alone', () => {
    changedBindings(old, { add: { '80/tcp': [any('1')] }, remove: { '53/udp': [] } });
    expect(old['80/tcp']).toHaveLength(2);
  });
});

describe('ports that the driver chose', () => {
  const tcp = (containerPort: number, hostPort: number, hostIp = '0.0.0.0') =>
    ({ protocol: 'tcp', containerPort, hostPort, hostIp }) as const;

  it('are kept, each for one binding', () => {
    const published = [tcp(80, 40_001), tcp(80, 40_002), tcp(81, 9000)];
    expect(
      pinned(
        [
          { protocol: 'tcp', containerPort: 80 },
          { protocol: 'tcp', containerPort: 80, hostPort: 0 },
          { protocol: 'tcp', containerPort: 80 },
          { protocol: 'tcp', containerPort: 81, hostPort: 9000, hostPortEnd: 9010 },
          { protocol: 'tcp', containerPort: 82, hostPort: 7000 },
        ],
        published,
      ).map(({ hostPort }) => hostPort),
    ).toEqual([40_001, 40_002, undefined, 9000, 7000]);
  });

  it('are not taken from a binding that names them', () => {
    expect(pinned([{ protocol: 'tcp', containerPort: 80 }, tcp(80, 8080)], [tcp(80, 8080)]).map(({ hostPort }) => hostPort)).toEqual([
      undefined,
      8080,
    ]);
  });

  it('are kept at the address that they were given for', () => {
    const published = [tcp(80, 40_001, '127.0.0.1')];
    const [first, second] = pinned(
      [
        { protocol: 'tcp', containerPort: 80, hostIp: '10.0.0.1' },
        { protocol: 'tcp', containerPort: 80, hostIp: '127.0.0.1' },
      ],
      published,
    );
    expect([first?.hostPort, second?.hostPort]).toEqual([undefined, 40_001]);
  });
});
