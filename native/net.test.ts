import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { inOwnNamespace } from '@gantry/test/network/namespace.js';
import { net } from './net.js';

const descriptorOf = (socket: Socket): number => (socket as unknown as { _handle: { fd: number } })._handle.fd;

inOwnNamespace(import.meta.url, () => {
  describe('a port reservation', () => {
    it('keeps everybody else off, and is free when closed', () => {
      const { fd, port } = net.reservePort('tcp', '127.0.0.1', 0);
      expect(() => net.reservePort('tcp', '127.0.0.1', port)).toThrow(expect.objectContaining({ code: 'EADDRINUSE' }));
      expect(() => net.reservePort('tcp', '0.0.0.0', port)).toThrow(expect.objectContaining({ code: 'EADDRINUSE' }));
      const datagrams = net.reservePort('udp', '127.0.0.1', port);
      expect(() => net.reservePort('udp', '0.0.0.0', port)).toThrow(expect.objectContaining({ code: 'EADDRINUSE' }));
      net.closeSocket(fd);
      net.closeSocket(datagrams.fd);
      net.closeSocket(net.reservePort('tcp', '0.0.0.0', port).fd);
    });

    it('succeeds although connections of a former server linger', async () => {
      const server = createServer((socket) => socket.end('bye'));
      server.listen(18999, '127.0.0.1');
      await once(server, 'listening');
      const client = connect(18999, '127.0.0.1');
      client.resume();
      await once(client, 'close');
      server.close();
      await once(server, 'close');
      const { fd } = net.reservePort('tcp', '127.0.0.1', 18999);
      expect(() => net.reservePort('tcp', '0.0.0.0', 18999)).toThrow(expect.objectContaining({ code: 'EADDRINUSE' }));
      net.closeSocket(fd);
    });

    it('says when an address is not the host’s, or none at all', () => {
      expect(() => net.reservePort('tcp', '192.0.2.77', 80)).toThrow(expect.objectContaining({ code: 'EADDRNOTAVAIL' }));
      expect(() => net.reservePort('tcp', 'localhost', 80)).toThrow(expect.objectContaining({ code: 'EINVALID' }));
    });
  });

  it('tells who is at the other end of a unix socket and what it has not read', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'gantry-network-'));
    const server = createServer({ pauseOnConnect: true });
    server.listen(join(folder, 's'));
    await once(server, 'listening');
    const accepted = once(server, 'connection') as Promise<[Socket]>;
    const client = connect(join(folder, 's'));
    await once(client, 'connect');
    const [peer] = await accepted;
    expect(net.peerCredentials(descriptorOf(peer))).toEqual({ pid: process.pid, uid: 0, gid: 0 });
    expect(net.unsent(descriptorOf(client))).toBe(0);
    client.write(Buffer.alloc(1000));
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(net.unsent(descriptorOf(client))).toBeGreaterThan(0);
    peer.resume();
    await once(peer, 'data');
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(net.unsent(descriptorOf(client))).toBe(0);
    client.destroy();
    peer.destroy();
    server.close();
    rmSync(folder, { recursive: true });
    expect(() => net.unsent(-1)).toThrow(expect.objectContaining({ code: 'EBADF' }));
  });

  it('ends a list of steps at the first that fails, and says which', async () => {
    const failing = net.configure('', [
      { op: 'add-bridge', name: 'first0' },
      { op: 'add-address', link: 'ghost0', address: '10.213.0.1/24' },
      { op: 'add-bridge', name: 'third0' },
    ]);
    await expect(failing).rejects.toMatchObject({ code: 'ENODEV', path: 'ghost0' });
    expect((await net.links('')).map(({ name }) => name)).toEqual(['lo', 'first0']);
    await net.configure('', [
      { op: 'delete-link', name: 'first0' },
      { op: 'delete-link', name: 'first0' },
    ]);
    for (const step of [
      { op: 'add-bridge', name: 'much-too-long-a-name' },
      { op: 'add-address', link: 'lo', address: '10.213.0.1/99' },
      { op: 'sysctl', key: '../kernel/hostname', value: 'x' },
    ] as const)
      await expect(net.configure('', [step])).rejects.toMatchObject({ code: 'EINVALID' });
    await expect(net.configure('/nonexistent', [])).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('deletes many links at once, and no other', async () => {
    const names = Array.from({ length: 5 }, (_, i) => `many${i}`);
    await net.configure(
      '',
      [...names, 'stays0'].map((name) => ({ op: 'add-bridge', name, up: true })),
    );
    await net.configure('', [
      { op: 'delete-links', names: [...names, 'ghost0'] },
      { op: 'delete-links', names: [...names] },
      { op: 'delete-links', names: [] },
    ]);
    expect((await net.links('')).map(({ name }) => name)).toEqual(['lo', 'stays0']);
    await net.configure('', [{ op: 'delete-links', names: ['stays0'] }]);
    expect((await net.links('')).map(({ name }) => name)).toEqual(['lo']);
  });

  it('changes nftables in one piece or not at all', async () => {
    const set = { name: 's', key: ['ipv4'] as const, elements: [{ key: ['10.213.0.1'] }] };
    await net.nft('', [{ op: 'replace-table', table: { name: 'whole', sets: [set], chains: [] } }]);
    const two = net.nft('', [
      { op: 'add-elements', table: 'whole', set: { ...set, elements: [{ key: ['10.213.0.2'] }] } },
      { op: 'delete-elements', table: 'whole', set: { ...set, elements: [{ key: ['10.213.0.9'] }] } },
    ]);
    await expect(two).rejects.toMatchObject({ code: 'ENOENT' });
    expect((await net.nftTable('', 'whole'))?.sets).toEqual({ s: ['10.213.0.1'] });
    const many = Array.from({ length: 5000 }, (_, i) => ({ key: [`10.214.${i >> 8}.${i & 255}`] }));
    await net.nft('', [{ op: 'add-elements', table: 'whole', set: { ...set, elements: many } }]);
    expect((await net.nftTable('', 'whole'))?.sets['s']).toHaveLength(5001);
    await net.nft('', [
      { op: 'delete-table', table: 'whole' },
      { op: 'delete-table', table: 'absent' },
    ]);
    expect(await net.nftTable('', 'whole')).toBeUndefined();
  });
});
