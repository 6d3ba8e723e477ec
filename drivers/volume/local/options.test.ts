import { describe, expect, it } from 'vitest';
import { checkOptions, mountOf, withoutSecrets } from './options.js';

const resolve = async (name: string): Promise<string> => {
  if (name === 'server') return '192.0.2.7';
  throw new Error(`ENOTFOUND ${name}`);
};

describe("a local volume's options", () => {
  it('have the address of an NFS server in the place of its name', async () => {
    expect(await mountOf({ type: 'nfs', device: ':/export', o: 'addr=server,rw,nfsvers=4' }, resolve)).toEqual({
      type: 'nfs',
      source: ':/export',
      options: ['addr=192.0.2.7', 'rw', 'nfsvers=4'],
    });
    expect((await mountOf({ type: 'nfs', device: ':/export', o: 'addr=2001:db8::1' }, resolve))?.options).toEqual(['addr=2001:db8::1']);
    await expect(mountOf({ type: 'nfs', device: ':/export', o: 'addr=nowhere' }, resolve)).rejects.toThrow(
      'the address of nowhere is not known',
    );
  });

  it('tell CIFS where the server of the share is', async () => {
    const o = 'username=u,password=p';
    expect((await mountOf({ type: 'cifs', device: '//server/share', o }, resolve))?.options.at(-1)).toBe('ip=192.0.2.7');
    const given = await mountOf({ type: 'cifs', device: '//server/share', o: `${o},addr=192.0.2.9` }, resolve);
    expect(given?.options).toEqual(['username=u', 'password=p', 'addr=192.0.2.9']);
    expect(withoutSecrets(given?.options ?? [])).toBe('username=u,password=***,addr=192.0.2.9');
  });

  it('bind when they say so, and mount nothing when they name no device', async () => {
    expect(await mountOf({ type: 'none', device: '/srv', o: 'rbind,ro' }, resolve)).toEqual({
      type: 'bind',
      source: '/srv',
      options: ['rbind', 'ro'],
    });
    expect(await mountOf({}, resolve)).toBeUndefined();
  });

  it('take a size for a folder of their own alone', () => {
    checkOptions({ size: '10M' });
    expect(() => checkOptions({ size: 'much' })).toThrow("invalid size: 'much'");
    expect(() => checkOptions({ size: '1G', type: 'tmpfs', device: 'tmpfs' })).toThrow('mounts something');
  });
});
