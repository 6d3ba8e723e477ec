import type { Check, Subject } from './suite.js';

let subnets = 0;

function networkRequest(subject: Subject): { NetworkID: string; Options: object; IPv4Data: object[]; IPv6Data: object[] } {
  const subnet = `10.254.${++subnets}`;
  return {
    NetworkID: subject.id(),
    Options: { 'com.docker.network.enable_ipv6': false, 'com.docker.network.generic': {} },
    IPv4Data: [{ AddressSpace: 'LocalDefault', Pool: `${subnet}.0/24`, Gateway: `${subnet}.1/24`, AuxAddresses: {} }],
    IPv6Data: [],
  };
}

const endpointRequest = (
  subject: Subject,
  network: string,
): { NetworkID: string; EndpointID: string; Interface: { Address: string; AddressIPv6: string; MacAddress: string }; Options: object } => ({
  NetworkID: network,
  EndpointID: subject.id(),
  Interface: { Address: `10.254.${subnets}.7/24`, AddressIPv6: '', MacAddress: '' },
  Options: { 'com.docker.network.endpoint.exposedports': [], 'com.docker.network.portmap': [] },
});

export const networkChecks: readonly Check[] = [
  {
    name: 'says its scope',
    async run(subject) {
      const { Scope } = await subject.ok('NetworkDriver.GetCapabilities');
      subject.must(Scope === 'local' || Scope === 'global', 'GetCapabilities says local or global');
    },
  },
  {
    name: 'makes a network and an endpoint and takes both away',
    async run(subject) {
      const network = networkRequest(subject);
      await subject.ok('NetworkDriver.CreateNetwork', network);
      const endpoint = endpointRequest(subject, network.NetworkID);
      const { Interface } = await subject.ok('NetworkDriver.CreateEndpoint', endpoint);
      const given = (Interface ?? {}) as { Address?: string };
      subject.must(!given.Address, 'CreateEndpoint does not answer an address that it was given');
      const ids = { NetworkID: network.NetworkID, EndpointID: endpoint.EndpointID };
      await subject.ok('NetworkDriver.EndpointOperInfo', ids);
      await subject.ok('NetworkDriver.DeleteEndpoint', ids);
      await subject.ok('NetworkDriver.DeleteNetwork', { NetworkID: network.NetworkID });
    },
  },
  {
    name: 'can be asked to take away what is gone',
    async run(subject) {
      const network = networkRequest(subject);
      await subject.ok('NetworkDriver.CreateNetwork', network);
      const ids = { NetworkID: network.NetworkID, EndpointID: subject.id() };
      await subject.ask('NetworkDriver.Leave', ids);
      await subject.ask('NetworkDriver.DeleteEndpoint', ids);
      await subject.ok('NetworkDriver.DeleteNetwork', { NetworkID: network.NetworkID });
      // A text is allowed here, a broken connection is not; engines log it.
      await subject.ask('NetworkDriver.DeleteNetwork', { NetworkID: network.NetworkID });
    },
  },
  {
    name: 'serves many networks at the same time',
    async run(subject) {
      const networks = Array.from({ length: 8 }, () => networkRequest(subject));
      await Promise.all(networks.map((network) => subject.ok('NetworkDriver.CreateNetwork', network)));
      await Promise.all(networks.map(({ NetworkID }) => subject.ok('NetworkDriver.DeleteNetwork', { NetworkID })));
    },
  },
  {
    name: 'refuses a call with an empty body and goes on',
    async run(subject) {
      await subject.refused('NetworkDriver.CreateNetwork', undefined, 'CreateNetwork without an id is refused');
      await subject.ok('NetworkDriver.GetCapabilities');
    },
  },
  {
    name: 'can be left in the middle of a call',
    async run(subject) {
      const network = networkRequest(subject);
      await subject.abandon('NetworkDriver.CreateNetwork', network);
      await subject.ask('NetworkDriver.DeleteNetwork', { NetworkID: network.NetworkID });
      await subject.ok(
        'NetworkDriver.CreateNetwork',
        { ...network, NetworkID: subject.id() },
        'CreateNetwork succeeds after one whose caller went away',
      );
    },
  },
  {
    name: 'knows its networks again after it was killed',
    async run(subject) {
      const network = networkRequest(subject);
      await subject.ok('NetworkDriver.CreateNetwork', network);
      await subject.restart();
      const endpoint = endpointRequest(subject, network.NetworkID);
      await subject.ok(
        'NetworkDriver.CreateEndpoint',
        endpoint,
        'an endpoint can be made after a restart in a network from before: engines do not send CreateNetwork again',
      );
      await subject.ok('NetworkDriver.DeleteEndpoint', { NetworkID: network.NetworkID, EndpointID: endpoint.EndpointID });
      await subject.ok('NetworkDriver.DeleteNetwork', { NetworkID: network.NetworkID });
    },
  },
  {
    name: 'answers for a network that it has already',
    async run(subject) {
      const network = networkRequest(subject);
      await subject.ok('NetworkDriver.CreateNetwork', network);
      // A text is allowed, a broken connection is not: an engine that lost the answer asks again.
      await subject.ask('NetworkDriver.CreateNetwork', network);
      await subject.ok('NetworkDriver.DeleteNetwork', { NetworkID: network.NetworkID }, 'a network that was made twice can be taken away');
    },
  },
  {
    name: 'takes away after a kill what it made before',
    async run(subject) {
      const network = networkRequest(subject);
      await subject.ok('NetworkDriver.CreateNetwork', network);
      const endpoint = endpointRequest(subject, network.NetworkID);
      await subject.ok('NetworkDriver.CreateEndpoint', endpoint);
      await subject.restart();
      await subject.ok('NetworkDriver.DeleteEndpoint', { NetworkID: network.NetworkID, EndpointID: endpoint.EndpointID });
      await subject.ok('NetworkDriver.DeleteNetwork', { NetworkID: network.NetworkID });
    },
  },
  {
    name: 'can be killed in the middle of a call',
    async run(subject) {
      const network = networkRequest(subject);
      await subject.interrupt('NetworkDriver.CreateNetwork', network);
      // It may have been made or not: afterwards it is gone, and another can be made.
      await subject.ask('NetworkDriver.DeleteNetwork', { NetworkID: network.NetworkID });
      const next = { ...network, NetworkID: subject.id() };
      await subject.ok('NetworkDriver.CreateNetwork', next, 'CreateNetwork succeeds after a kill in the middle of one');
      await subject.ok('NetworkDriver.DeleteNetwork', { NetworkID: next.NetworkID });
    },
  },
];
