import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import {
  type EndpointInterface,
  invalid,
  type Joined,
  type NetworkConfig,
  type NetworkPlugin,
  notFound,
  unknownOption,
} from '../../sdk/index.js';

interface KeptNetwork {
  readonly gateway: string;
  readonly mtu: string;
  readonly endpoints: Record<string, { readonly address: string }>;
}

const run = promisify(execFile);
const OPTIONS = ['mtu'];

/** Names of links are short, so both ends of an endpoint's pair follow from a hash of its id. */
const links = (endpointId: string): { outer: string; inner: string } => {
  const hash = createHash('sha256').update(endpointId).digest('hex').slice(0, 10);
  return { outer: `rn${hash}`, inner: `rc${hash}` };
};

/**
 * Networks without a bridge: each container has a link of its own to the host, which routes between them. No frame of one container
 * reaches another one's link, and the host's ordinary routing and firewall see all traffic.
 */
export class RoutedNetwork implements NetworkPlugin {
  private readonly networks: Record<string, KeptNetwork>;

  constructor(private readonly file: string) {
    mkdirSync(dirname(file), { recursive: true });
    this.networks = existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Record<string, KeptNetwork>) : {};
  }

  createNetwork(networkId: string, { options, ipv4, ipv6 }: NetworkConfig): void {
    for (const option of Object.keys(options)) if (!OPTIONS.includes(option)) throw unknownOption(option, OPTIONS);
    const { mtu = '1500' } = options;
    if (!/^\d{2,5}$/.test(mtu)) throw invalid(`mtu is no number: ${mtu}`);
    const [first] = ipv4;
    if (!first?.gateway || ipv4.length > 1 || ipv6.length > 0) throw invalid('a routed network has one IPv4 subnet with a gateway');
    this.networks[networkId] ??= { gateway: first.gateway.split('/')[0] ?? '', mtu, endpoints: {} };
    this.save();
  }

  deleteNetwork(networkId: string): void {
    delete this.networks[networkId];
    this.save();
  }

  createEndpoint(networkId: string, endpointId: string, { address, mac }: EndpointInterface): EndpointInterface {
    if (!address) throw invalid('an endpoint of a routed network needs an address');
    this.known(networkId).endpoints[endpointId] = { address: address.split('/')[0] ?? '' };
    this.save();
    if (mac) return {};
    const bytes = createHash('sha256').update(`mac ${endpointId}`).digest();
    return { mac: `02:42:${[...bytes.subarray(0, 4)].map((byte) => byte.toString(16).padStart(2, '0')).join(':')}` };
  }

  deleteEndpoint(networkId: string, endpointId: string): void {
    delete this.networks[networkId]?.endpoints[endpointId];
    this.save();
  }

  async join(networkId: string, endpointId: string): Promise<Joined> {
    const { gateway, mtu, endpoints } = this.known(networkId);
    const address = endpoints[endpointId]?.address;
    if (address === undefined) throw notFound('endpoint', endpointId);
    const { outer, inner } = links(endpointId);
    // A join that was cut off left its pair.
    await this.leave(networkId, endpointId);
    await run('ip', ['link', 'add', outer, 'mtu', mtu, 'type', 'veth', 'peer', 'name', inner, 'mtu', mtu]);
    try {
      await run('ip', ['addr', 'add', `${gateway}/32`, 'dev', outer]);
      // The host answers for all addresses of the subnet, so that the containers' traffic comes to it.
      writeFileSync(`/proc/sys/net/ipv4/conf/${outer}/proxy_arp`, '1');
      writeFileSync(`/proc/sys/net/ipv4/conf/${outer}/forwarding`, '1');
      await run('ip', ['link', 'set', outer, 'up']);
      await run('ip', ['route', 'replace', `${address}/32`, 'dev', outer]);
    } catch (error) {
      await this.leave(networkId, endpointId);
      throw error;
    }
    return { link: { srcName: inner, dstPrefix: 'eth' }, gateway, routes: [] };
  }

  /** With one end of the pair the other goes, and the routes over it. */
  async leave(_networkId: string, endpointId: string): Promise<void> {
    const { outer } = links(endpointId);
    if (existsSync(`/sys/class/net/${outer}`)) await run('ip', ['link', 'del', outer]);
  }

  private known(networkId: string): KeptNetwork {
    const network = this.networks[networkId];
    if (!network) throw notFound('network', networkId);
    return network;
  }

  private save(): void {
    writeFileSync(`${this.file}.new`, JSON.stringify(this.networks));
    renameSync(`${this.file}.new`, this.file);
  }
}
