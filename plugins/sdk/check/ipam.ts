import type { Check, Subject } from './suite.js';

async function pool(subject: Subject, Pool = ''): Promise<{ PoolID: string; Pool: string }> {
  const { LocalDefaultAddressSpace } = await subject.ok('IpamDriver.GetDefaultAddressSpaces');
  const asked = { AddressSpace: LocalDefaultAddressSpace ?? '', Pool, SubPool: '', Options: null, V6: false };
  const answer = await subject.ok('IpamDriver.RequestPool', asked);
  subject.must(typeof answer['PoolID'] === 'string' && answer['PoolID'] !== '', 'RequestPool answers a PoolID');
  subject.must(/^[\d.]+\/\d+$/.test(String(answer['Pool'])), 'RequestPool answers a CIDR');
  return answer as { PoolID: string; Pool: string };
}

const address = async (subject: Subject, PoolID: string, Address = '', Options: object | null = null): Promise<string> => {
  const answer = await subject.ok('IpamDriver.RequestAddress', { PoolID, Address, Options });
  subject.must(/^[\d.]+\/\d+$/.test(String(answer['Address'])), 'RequestAddress answers an address with its prefix length');
  return String(answer['Address']);
};

export const ipamChecks: readonly Check[] = [
  {
    name: 'gives a pool, a gateway and addresses, and takes them back',
    async run(subject) {
      const { PoolID } = await pool(subject);
      const gateway = await address(subject, PoolID, '', { RequestAddressType: 'com.docker.network.gateway' });
      const one = await address(subject, PoolID);
      subject.must(one !== gateway, 'no address is given twice');
      for (const leased of [one, gateway]) await subject.ok('IpamDriver.ReleaseAddress', { PoolID, Address: leased.split('/')[0] });
      await subject.ok('IpamDriver.ReleasePool', { PoolID });
    },
  },
  {
    name: 'gives the address that is asked for',
    async run(subject) {
      const { PoolID, Pool } = await pool(subject, '10.253.9.0/24');
      subject.must(Pool === '10.253.9.0/24', 'RequestPool gives the pool that was asked for');
      subject.must(
        (await address(subject, PoolID, '10.253.9.77')).startsWith('10.253.9.77/'),
        'RequestAddress gives the address that was asked for',
      );
      await subject.ok('IpamDriver.ReleaseAddress', { PoolID, Address: '10.253.9.77' });
      await subject.ok('IpamDriver.ReleasePool', { PoolID });
    },
  },
  {
    name: 'gives every caller another address',
    async run(subject) {
      const { PoolID } = await pool(subject);
      const given = await Promise.all(Array.from({ length: 16 }, () => address(subject, PoolID)));
      subject.must(new Set(given).size === given.length, 'addresses that are asked for at the same time differ');
      for (const leased of given) await subject.ok('IpamDriver.ReleaseAddress', { PoolID, Address: leased.split('/')[0] });
      await subject.ok('IpamDriver.ReleasePool', { PoolID });
    },
  },
  {
    name: 'refuses a pool that it does not know',
    async run(subject) {
      await subject.refused(
        'IpamDriver.RequestAddress',
        { PoolID: subject.fresh('ghost'), Address: '', Options: null },
        'an address of an unknown pool is refused, in a field named Error',
      );
    },
  },
  {
    name: 'keeps its leases after it was killed',
    async run(subject) {
      const { PoolID } = await pool(subject);
      const before = await address(subject, PoolID);
      await subject.restart();
      const after = await address(subject, PoolID);
      subject.must(after !== before, 'an address that is leased is not given again after a restart');
      for (const leased of [before, after]) await subject.ok('IpamDriver.ReleaseAddress', { PoolID, Address: leased.split('/')[0] });
      await subject.ok('IpamDriver.ReleasePool', { PoolID });
    },
  },
];
