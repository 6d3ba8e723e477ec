import { isIP } from 'node:net';
import { BaseCommand, print, warn } from '../../base-command.js';
import { flag } from '../../flags.js';
import { labelEntry, readLabels } from '../../run/key-values.js';

interface Pool {
  Subnet?: string;
  IPRange?: string;
  Gateway?: string;
  AuxiliaryAddresses?: Record<string, string>;
}

export default class Create extends BaseCommand {
  static override usage = 'NETWORK';
  static override arity = { least: 1, most: 1 };
  static override flags = {
    attachable: flag.boolean({ description: 'Let containers be connected by hand' }),
    'aux-address': flag.map({ description: 'Address that the driver uses itself (name=ip)' }),
    'config-from': flag.string({ description: 'Network whose configuration to copy' }),
    'config-only': flag.boolean({ description: 'Make a configuration that other networks copy' }),
    driver: flag.string({ char: 'd', description: 'Network driver', initial: 'bridge' }),
    gateway: flag.commaList({ description: 'Gateway of a subnet' }),
    ingress: flag.boolean({ description: 'Make the network of the swarm routing mesh' }),
    internal: flag.boolean({ description: 'Cut it off from the outside' }),
    'ip-range': flag.commaList({ description: 'Part of a subnet that addresses are taken from' }),
    'ipam-driver': flag.string({ description: 'Driver that gives out addresses', initial: 'default' }),
    'ipam-opt': flag.map({ description: 'Option of that driver' }),
    ipv4: flag.boolean({ description: 'Give IPv4 addresses', initial: true }),
    ipv6: flag.boolean({ description: 'Give IPv6 addresses' }),
    label: flag.list({ description: 'Set a label', check: labelEntry }),
    opt: flag.map({ char: 'o', description: 'Option of the network driver' }),
    scope: flag.string({ description: 'Scope of the network' }),
    subnet: flag.commaList({ description: 'Subnet in the form 10.1.0.0/16' }),
  };

  async run(): Promise<void> {
    const { flags, args, given } = this.read(Create);
    const pools = addressPools(flags.subnet, flags['ip-range'], flags.gateway, flags['aux-address']);
    const answer = await this.client.post<{ Id: string; Warning?: string }>('/networks/create', {
      body: {
        Name: args[0] as string,
        Driver: flags.driver,
        Options: flags.opt,
        IPAM: { Driver: flags['ipam-driver'], Config: pools, Options: flags['ipam-opt'] },
        Internal: flags.internal,
        Attachable: flags.attachable,
        Ingress: flags.ingress,
        ConfigOnly: flags['config-only'],
        ...(flags['config-from'] ? { ConfigFrom: { Network: flags['config-from'] } } : {}),
        ...(given.has('ipv4') ? { EnableIPv4: flags.ipv4 } : {}),
        ...(given.has('ipv6') ? { EnableIPv6: flags.ipv6 } : {}),
        ...(flags.scope ? { Scope: flags.scope } : {}),
        Labels: readLabels([], flags.label),
      },
    });
    if (answer.Warning) warn(`WARNING: ${answer.Warning}`);
    print(answer.Id);
  }
}

/** Each range, gateway and reserved address goes to the subnet that it lies in. */
export const addressPools = (
  subnets: readonly string[],
  ranges: readonly string[],
  gateways: readonly string[],
  reserved: Record<string, string>,
): Pool[] => {
  if (subnets.length < ranges.length || subnets.length < gateways.length)
    throw new Error('every ip-range or gateway must have a corresponding subnet');
  const pools = subnets.map((subnet): Pool & { Subnet: string } => ({ Subnet: subnet }));
  for (const [at, subnet] of subnets.entries()) {
    const network = parseSubnet(subnet);
    if (subnets.some((other, index) => index < at && (contains(network, other) || contains(parseSubnet(other), subnet))))
      throw new Error('multiple overlapping subnet configuration is not supported');
  }
  const place = (address: string, what: string, set: (pool: Pool) => boolean): void => {
    const pool = pools.find((each) => contains(parseSubnet(each.Subnet), address));
    if (!pool) throw new Error(`no matching subnet for ${what} ${address}`);
    if (!set(pool))
      throw new Error(
        `cannot configure multiple ${what === 'gateway' ? 'gateways' : 'ranges'} (${address}) on the same subnet (${pool.Subnet})`,
      );
  };
  for (const range of ranges) place(range, 'range', (pool) => pool.IPRange === undefined && Boolean((pool.IPRange = range)));
  for (const gateway of gateways) place(gateway, 'gateway', (pool) => pool.Gateway === undefined && Boolean((pool.Gateway = gateway)));
  for (const [name, address] of Object.entries(reserved)) {
    place(address, 'aux-address', (pool) => {
      pool.AuxiliaryAddresses = { ...pool.AuxiliaryAddresses, [name]: address };
      return true;
    });
  }
  return pools;
};

interface Subnet {
  bits: bigint;
  length: number;
  size: number;
}

const parseSubnet = (text: string): Subnet => {
  const [address, length] = text.split('/', 2) as [string, string?];
  const version = isIP(address);
  const size = version === 6 ? 128 : 32;
  if (version === 0 || length === undefined || !/^\d+$/.test(length) || Number(length) > size)
    throw new Error(`invalid CIDR address: ${text}`);
  return { bits: addressBits(address), length: Number(length), size };
};

const contains = (subnet: Subnet, text: string): boolean => {
  const address = text.split('/', 1)[0] as string;
  const version = isIP(address);
  if (version === 0) throw new Error(`invalid IP address: ${text}`);
  if ((version === 6 ? 128 : 32) !== subnet.size) return false;
  const shift = BigInt(subnet.size - subnet.length);
  return addressBits(address) >> shift === subnet.bits >> shift;
};

const addressBits = (address: string): bigint => {
  if (isIP(address) === 4) return address.split('.').reduce((bits, part) => (bits << 8n) | BigInt(part), 0n);
  const plain = address.replace(/\d+\.\d+\.\d+\.\d+$/, (quad) => {
    const bits = addressBits(quad);
    return `${(bits >> 16n).toString(16)}:${(bits & 0xffffn).toString(16)}`;
  });
  const [head = '', tail] = plain.split('::', 2);
  const words = (text: string): string[] => (text === '' ? [] : text.split(':'));
  const before = words(head);
  const after = words(tail ?? '');
  const all = tail === undefined ? before : [...before, ...Array<string>(8 - before.length - after.length).fill('0'), ...after];
  return all.reduce((bits, word) => (bits << 16n) | BigInt(`0x${word}`), 0n);
};
