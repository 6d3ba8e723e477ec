import { type Check, Skipped, type Subject } from './suite.js';

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

/** Gives everything back: what a check took would be missing to the next run. */
async function release(subject: Subject, PoolID: string, leases: readonly string[]): Promise<void> {
  for (const leased of leases) await subject.ok('IpamDriver.ReleaseAddress', { PoolID, Address: leased.split('/')[0] });
  await subject.ok('IpamDriver.ReleasePool', { PoolID });
}

const GATEWAY = { RequestAddressType: 'com.docker.network.gateway' };

export const ipamChecks: readonly Check[] = [
  {
    name: 'gives a pool, a gateway and addresses, and takes them back',
    async run(subject) {
      const { PoolID } = await pool(subject);
      const gateway = await address(subject, PoolID, '', GATEWAY);
      const one = await address(subject, PoolID);
      subject.must(one !== gateway, 'no address is given twice');
      await release(subject, PoolID, [one, gateway]);
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
      subject.must(
        (await address(subject, PoolID, '10.253.9.77')).startsWith('10.253.9.77/'),
        'an address that was given back can be asked for again',
      );
      await release(subject, PoolID, ['10.253.9.77']);
    },
  },
  {
    name: 'gives every caller another address',
    async run(subject) {
      const { PoolID } = await pool(subject);
      const given = await Promise.all(Array.from({ length: 16 }, () => address(subject, PoolID)));
      subject.must(new Set(given).size === given.length, 'addresses that are asked for at the same time differ');
      await release(subject, PoolID, given);
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
      await release(subject, PoolID, [before, after]);
    },
  },
  {
    name: 'gives every network another pool',
    async run(subject) {
      const pools = await Promise.all(Array.from({ length: 8 }, () => pool(subject)));
      subject.must(new Set(pools.map(({ Pool }) => Pool)).size === pools.length, 'pools that are asked for at the same time differ');
      for (const { PoolID } of pools) await subject.ok('IpamDriver.ReleasePool', { PoolID });
    },
  },
  {
    name: 'can be asked to take back what it has already',
    async run(subject) {
      // An engine that lost an answer asks again. A text is allowed here, a broken connection is not; engines log it.
      const { PoolID } = await pool(subject);
      const leased = await address(subject, PoolID);
      await release(subject, PoolID, [leased]);
      await subject.ask('IpamDriver.ReleaseAddress', { PoolID, Address: leased.split('/')[0] });
      await subject.ask('IpamDriver.ReleasePool', { PoolID });
      await subject.ok('IpamDriver.ReleasePool', { PoolID: (await pool(subject)).PoolID });
    },
  },
  {
    name: 'gives pool and gateway again to an engine that starts again',
    async run(subject) {
      const { RequiresRequestReplay } = await subject.ok('IpamDriver.GetCapabilities');
      if (RequiresRequestReplay !== true) throw new Skipped('the plugin does not ask for it (RequiresRequestReplay)');
      const first = await pool(subject, '10.253.10.0/24');
      await address(subject, first.PoolID, '10.253.10.1', GATEWAY);
      const again = await pool(subject, '10.253.10.0/24');
      subject.must(again.PoolID === first.PoolID, 'the same pool has the same PoolID: the engine has no other for it');
      subject.must(
        (await address(subject, again.PoolID, '10.253.10.1', GATEWAY)).startsWith('10.253.10.1/'),
        'the gateway is given once more',
      );
      await release(subject, first.PoolID, ['10.253.10.1']);
    },
  },
  {
    name: 'refuses a call with an empty body and goes on',
    async run(subject) {
      // What engines send when they repeat a call whose body they have used up.
      await subject.refused('IpamDriver.RequestPool', undefined, 'RequestPool without a word is refused');
      await subject.refused('IpamDriver.RequestAddress', undefined, 'RequestAddress without a pool is refused');
      await subject.ok('IpamDriver.ReleasePool', { PoolID: (await pool(subject)).PoolID });
    },
  },
  {
    name: 'can be left in the middle of a call',
    async run(subject) {
      const { PoolID } = await pool(subject);
      const before = await address(subject, PoolID);
      await subject.abandon('IpamDriver.RequestAddress', { PoolID, Address: '', Options: null });
      const after = await address(subject, PoolID);
      subject.must(after !== before, 'no address is given twice, also after a caller went away');
      await release(subject, PoolID, [before, after]);
    },
  },
  {
    name: 'can be killed in the middle of a call',
    async run(subject) {
      const { PoolID } = await pool(subject);
      const before = await address(subject, PoolID);
      await subject.interrupt('IpamDriver.RequestAddress', { PoolID, Address: '', Options: null });
      const after = await address(subject, PoolID);
      subject.must(after !== before, 'no address is given twice, also after a kill in the middle of a call');
      await release(subject, PoolID, [before, after]);
    },
  },
];
