import { BaseCommand } from '../../base-command.js';
import { path } from '../../client/client.js';
import { flag } from '../../flags.js';
import { driverOption, linkEntry } from '../../run/networks.js';

export default class Connect extends BaseCommand {
  static override usage = 'NETWORK CONTAINER';
  static override arity = { least: 2, most: 2 };
  static override flags = {
    alias: flag.commaList({ description: 'Another name within the network' }),
    'driver-opt': flag.commaList({ description: 'Option of the network driver' }),
    'gw-priority': flag.integer({ description: 'The network with the highest gives the default gateway' }),
    ip: flag.string({ description: 'IPv4 address' }),
    ip6: flag.string({ description: 'IPv6 address' }),
    link: flag.list({ description: 'Link to another container', check: linkEntry }),
    'link-local-ip': flag.commaList({ description: 'Link-local address' }),
  };

  async run(): Promise<void> {
    const { flags, args } = this.read(Connect);
    const [network, container] = args as [string, string];
    const addresses = {
      ...(flags.ip ? { IPv4Address: flags.ip } : {}),
      ...(flags.ip6 ? { IPv6Address: flags.ip6 } : {}),
      ...(flags['link-local-ip'].length > 0 ? { LinkLocalIPs: flags['link-local-ip'] } : {}),
    };
    await this.client.post(path`/networks/${network}/connect`, {
      body: {
        Container: container,
        EndpointConfig: {
          ...(Object.keys(addresses).length > 0 ? { IPAMConfig: addresses } : {}),
          ...(flags.link.length > 0 ? { Links: flags.link } : {}),
          ...(flags.alias.length > 0 ? { Aliases: flags.alias } : {}),
          ...(flags['driver-opt'].length > 0 ? { DriverOpts: Object.fromEntries(flags['driver-opt'].map(driverOption)) } : {}),
          ...(flags['gw-priority'] === 0 ? {} : { GwPriority: flags['gw-priority'] }),
        },
      },
    });
  }
}
