import { describe, expect, it } from 'vitest';
import { resolveUser } from './user.js';

const PASSWD =
  'root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001:App:/home/app:/bin/sh\n0:x:1234:1234::/evil:/bin/sh\nbroken:x:99999999999:0::/:/\n';
const GROUP = 'root:x:0:\nwheel:x:10:root,app\napp:x:1001:\n1000:x:77:\n';
const resolve = (spec: string, add: string[] = []) => resolveUser(spec, add, PASSWD, GROUP);

describe('USER', () => {
  it('is root when empty, with its supplementary groups', () => {
    expect(resolve('')).toEqual({ uid: 0, gid: 0, additionalGids: [0, 10], home: '/root' });
  });

  it('is looked up by name, or by number for its groups and home', () => {
    const app = { uid: 1000, gid: 1001, additionalGids: [1001, 10], home: '/home/app' };
    expect([resolve('app'), resolve('1000')]).toEqual([app, app]);
  });

  it('of all digits is never a name', () => {
    expect(resolve('0')).toMatchObject({ uid: 0, home: '/root' });
    expect(resolve('app:1000')).toMatchObject({ gid: 1000, additionalGids: [1000] });
  });

  it('may be a number that nobody knows', () => {
    expect(resolve('4242')).toEqual({ uid: 4242, gid: 0, additionalGids: [0], home: '/' });
  });

  it('fails in the words that clients know', () => {
    expect(() => resolve('nobody')).toThrow('unable to find user nobody: no matching entries in passwd file');
    expect(() => resolve('broken')).toThrow('unable to find user broken');
    expect(() => resolve('app:nogroup')).toThrow('unable to find group nogroup: no matching entries in group file');
    expect(() => resolve('app', ['nope'])).toThrow('Unable to find group nope');
    expect(() => resolve('99999999999')).toThrow('uids and gids must be in range 0-2147483647');
  });

  it('gets additional groups by name and number', () => {
    expect(resolve('app', ['wheel', '555']).additionalGids).toEqual([1001, 10, 555]);
  });
});
