import type { HostNet, NftRule, NftTable, SocketProtocol } from '../contracts/host-net.js';
import { EMBEDDED_SERVER } from './name-files.js';

const TABLE = 'gantry-dns';
const PORT = 53;

/**
 * Makes the sockets of a sandbox's name server, of the kernel's choice of ports: a name server that runs in the container may
 * bind port 53 of every address. Packets to port 53 of 127.0.0.11 alone are turned to them. The caller owns the descriptors.
 */
export async function openNameSockets(net: HostNet, namespace: string): Promise<{ udp: number; tcp: number }> {
  const udp = await net.openSocket(namespace, 'udp', EMBEDDED_SERVER, 0);
  let tcp: { fd: number; port: number } | undefined;
  try {
    tcp = await net.openSocket(namespace, 'tcp', EMBEDDED_SERVER, 0);
    await redirect(net, namespace, redirection(udp.port, tcp.port));
    return { udp: udp.fd, tcp: tcp.fd };
  } catch (error) {
    net.closeSocket(udp.fd);
    if (tcp) net.closeSocket(tcp.fd);
    throw error;
  }
}

async function redirect(net: HostNet, namespace: string, table: NftTable): Promise<void> {
  try {
    await net.nft(namespace, [{ op: 'add-table', table }]);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    // The former name server's, which points to its own ports.
    await net.nft(namespace, [{ op: 'replace-table', table }]);
  }
}

/** The parts of a rule that turn port 53 of the server's address to `port` on the way to it. */
const turn = (protocol: SocketProtocol, port: number): NftRule => ({
  comment: `to the embedded name server, ${protocol}`,
  expressions: [
    { type: 'match', field: 'daddr', value: EMBEDDED_SERVER },
    { type: 'match', field: 'protocol', value: protocol },
    { type: 'match', field: 'dport', value: PORT },
    { type: 'set-port', field: 'dport', port, value: protocol },
  ],
});

const turnBack = (protocol: SocketProtocol, port: number): NftRule => ({
  comment: `from the embedded name server, ${protocol}`,
  expressions: [
    { type: 'match', field: 'saddr', value: EMBEDDED_SERVER },
    { type: 'match', field: 'protocol', value: protocol },
    { type: 'match', field: 'sport', value: port },
    { type: 'set-port', field: 'sport', port: PORT, value: protocol },
  ],
});

/**
 * Ports are written into the packets in both directions. Address translation would do the same, but it brings connection
 * tracking into the sandbox, which costs 10 ms when it starts and something for every packet that the container sends.
 */
function redirection(udpPort: number, tcpPort: number): NftTable {
  const rules = [turn('udp', udpPort), turn('tcp', tcpPort), turnBack('udp', udpPort), turnBack('tcp', tcpPort)];
  return { name: TABLE, sets: [], chains: [{ name: 'output', base: { type: 'filter', hook: 'output', priority: -150 }, rules }] };
}
