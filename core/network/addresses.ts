import { randomBytes } from 'node:crypto';
import { BlockList, isIPv6 } from 'node:net';
import { readFile } from 'node:fs/promises';
import { EngineError, invalid, isKind } from '../contracts/errors.js';
import type { HostNet } from '../contracts/host-net.js';
import type { IpamDriver, LeaseAudit } from '../contracts/ipam.js';
import type { IpamData } from '../contracts/network.js';
import type { DriverRegistry } from '../extension/driver-registry.js';
import { UndoStack } from '../state/undo.js';
import type { Logger } from '../contracts/manifest.js';
import type { NetworkRecord } from './network-store.js';
import type { CreateNetworkRequest, IpamConfig, Network } from './networks.js';
import { nameServers } from './resolv-conf.js';

const GATEWAY_REQUEST = { RequestAddressType: 'com.docker.network.gateway' };
/** For the network itself, as the gateway is, and so not given back with an endpoint. */
const AUXILIARY_REQUEST = { RequestAddressType: 'com.docker.network.auxiliary' };

/** What a new network was given; `pools` are those of IPv4, then those of IPv6. */
export interface Allocation {
  readonly ipv4: readonly IpamData[];
  readonly ipv6: readonly IpamData[];
  readonly pools: readonly string[];
  readonly reserved: Readonly<Record<string, readonly string[]>>;
}

const bare = (address: string): string => address.split('/')[0] ?? '';
const NO_CONFIG: IpamConfig = { subnet: '', ipRange: '', gateway: '', auxAddresses: {} };

/** Pools of networks and addresses of endpoints, through whichever IPAM driver a network names. */
export class Addresses {
  constructor(
    private readonly drivers: DriverRegistry,
    private readonly net: HostNet,
    private readonly log: Logger,
  ) {}

  /** For each family of the network one pool with its gateway for each part of the request, or one of the driver's choice. All or nothing. */
  async allocate(request: Pick<CreateNetworkRequest, 'ipam' | 'options' | 'scope' | 'enableIpv4' | 'enableIpv6'>): Promise<Allocation> {
    const driver = await this.driver(request);
    const undo = new UndoStack(this.log);
    const allocation = {
      ipv4: [] as IpamData[],
      ipv6: [] as IpamData[],
      pools: [] as string[],
      reserved: {} as Record<string, readonly string[]>,
    };
    try {
      for (const v6 of [false, true]) {
        if (!(v6 ? request.enableIpv6 : request.enableIpv4)) continue;
        const configs = request.ipam.config.filter(({ subnet }) => subnet.includes(':') === v6);
        for (const config of configs.length > 0 ? configs : [NO_CONFIG]) {
          const { poolId, leases, data } = await this.allocateOne(driver, request, config, v6, undo);
          allocation.pools.push(poolId);
          allocation.reserved[poolId] = leases;
          allocation[v6 ? 'ipv6' : 'ipv4'].push(data);
        }
      }
      undo.dismiss();
      return allocation;
    } finally {
      await undo.run();
    }
  }

  private async allocateOne(
    driver: IpamDriver,
    { ipam, options }: Pick<CreateNetworkRequest, 'ipam' | 'options'>,
    config: IpamConfig,
    v6: boolean,
    undo: UndoStack,
  ): Promise<{ poolId: string; leases: string[]; data: IpamData }> {
    const { local } = await driver.defaultAddressSpaces();
    const { poolId, pool } = await driver.requestPool({
      addressSpace: local,
      ...(config.subnet && { pool: config.subnet }),
      ...(config.ipRange && { subPool: config.ipRange }),
      options: ipam.options,
      v6,
      avoid: config.subnet ? [] : await this.occupied(options['com.docker.network.bridge.name']),
    });
    undo.push('release the pool', () => driver.releasePool(poolId));
    const gateway = await driver.requestAddress(poolId, config.gateway || undefined, GATEWAY_REQUEST);
    const leases = [bare(gateway)];
    for (const [name, address] of Object.entries(config.auxAddresses)) {
      if (address === bare(gateway)) continue;
      try {
        leases.push(bare(await driver.requestAddress(poolId, address, AUXILIARY_REQUEST)));
      } catch (error) {
        if (isKind(error, 'invalid-parameter')) throw invalid(`invalid auxiliary address ${name}: ${address}`, error);
        throw error;
      }
    }
    return { poolId, leases, data: { pool, gateway, auxAddresses: config.auxAddresses } };
  }

  async free(record: NetworkRecord): Promise<void> {
    const driver = await this.driver(record.network);
    for (const [pool, addresses] of Object.entries(record.reserved))
      for (const address of addresses) await driver.releaseAddress(pool, address);
    for (const pool of record.pools) await driver.releasePool(pool);
  }

  /** The MAC address of a new endpoint: the wanted one, or one made up for an address manager that wants to know it; '' for whatever the network's driver gives. */
  async macFor(network: Network, wanted: string): Promise<string> {
    if (wanted !== '' || network.ipv4.length + network.ipv6.length === 0) return wanted.toLowerCase();
    const open = await this.drivers.get('ipam', driverName(network));
    return open.has('needs-mac') ? madeUpMac() : '';
  }

  /** With prefix length; from the first pool of the family that has one, or the one that `address` lies in. `mac` is the endpoint's, '' when nobody knows it. */
  async lease({ network, pools }: NetworkRecord, address: string, v6: boolean, mac: string): Promise<string> {
    const { driver, has } = await this.drivers.get('ipam', driverName(network));
    const options = mac !== '' && has('needs-mac') ? { 'com.docker.network.endpoint.macaddress': mac } : {};
    let last: unknown;
    for (const pool of v6 ? pools.slice(network.ipv4.length) : pools.slice(0, network.ipv4.length)) {
      try {
        return await driver.requestAddress(pool, address || undefined, options);
      } catch (error) {
        last = error;
        if (!isKind(error, address ? 'invalid-parameter' : 'unavailable')) break;
      }
    }
    // Of a network of several hosts the driver says more: its store may be away.
    if (isKind(last, 'unavailable') && !address && network.scope === 'local')
      throw new EngineError(
        'unavailable',
        `no available IPv${v6 ? 6 : 4} addresses on this network's address pools: ${network.name} (${network.id})`,
        { cause: last },
      );
    throw last;
  }

  async release({ network, pools }: NetworkRecord, address: string): Promise<void> {
    if (!address) return;
    const driver = await this.driver(network);
    for (const pool of pools) {
      // An address belongs to one of the pools; the others do not know it and say so or not.
      try {
        await driver.releaseAddress(pool, bare(address));
      } catch (error) {
        if (!isKind(error, 'invalid-parameter')) throw error;
      }
    }
  }

  /**
   * Brings drivers that can into line with the records. `leases`: addresses of live endpoints by network id. `driver`: the one that
   * has only what these networks have, even if there is none.
   */
  async audit(
    records: readonly NetworkRecord[],
    leases: ReadonlyMap<string, readonly string[]>,
    driver: 'default' | 'cluster',
  ): Promise<void> {
    const byDriver = new Map<string, NetworkRecord[]>([[driver, []]]);
    for (const record of records) {
      if (record.pools.length === 0) continue;
      const name = driverName(record.network);
      byDriver.set(name, [...(byDriver.get(name) ?? []), record]);
    }
    for (const [name, list] of byDriver) {
      // One in another process keeps its leases, and may be away.
      if (this.drivers.isRemote('ipam', name)) continue;
      const open = await this.drivers.get('ipam', name);
      if (!open.has('lease-audit')) continue;
      const held = new Map<string, string[]>();
      for (const { network, pools, reserved } of list) {
        const mine = leases.get(network.id) ?? [];
        for (const [index, pool] of pools.entries()) {
          const { pool: subnet = '' } = [...network.ipv4, ...network.ipv6][index] ?? {};
          const inPool = pools.length === 1 ? mine : mine.filter((address) => contains(subnet, address));
          held.set(pool, [...(reserved[pool] ?? []), ...inPool]);
        }
      }
      await (open.driver as IpamDriver & LeaseAudit).audit(held);
    }
  }

  /** Asks a driver that wants it so for a network's pools and gateways again, at daemon start. */
  async replay({ network, pools }: NetworkRecord): Promise<void> {
    const open = await this.drivers.get('ipam', driverName(network));
    if (!open.has('request-replay')) return;
    const { local } = await open.driver.defaultAddressSpaces();
    for (const [index, data] of [...network.ipv4, ...network.ipv6].entries()) {
      const config = network.ipam.config.find(({ subnet }) => subnet === data.pool);
      const { poolId } = await open.driver.requestPool({
        addressSpace: local,
        pool: data.pool,
        ...(config?.ipRange && { subPool: config.ipRange }),
        options: network.ipam.options,
        v6: index >= network.ipv4.length,
        avoid: [],
      });
      if (poolId !== pools[index])
        throw new EngineError('system', `the pool ${data.pool} of network ${network.name} came back as another one`);
      if (data.gateway) await open.driver.requestAddress(poolId, bare(data.gateway), GATEWAY_REQUEST);
    }
  }

  private async driver(network: Pick<Network, 'ipam' | 'scope'>): Promise<IpamDriver> {
    return (await this.drivers.get('ipam', driverName(network))).driver;
  }

  /** Routes of the host beyond other links that the new network hides: what is there is not reached any more. */
  async hiddenRoutes({ id, ipv4, ipv6, options }: Network): Promise<string[]> {
    const own = options['com.docker.network.bridge.name'] || `br-${id.slice(0, 12)}`;
    const routes = (await this.net.routes('')).filter(({ destination, link }) => !destination.endsWith('/0') && link !== own);
    return [...ipv4, ...ipv6].flatMap(({ pool }) =>
      routes
        .filter(({ destination }) => isIPv6(destination.split('/')[0] ?? '') === pool.includes(':'))
        .filter(({ destination }) => contains(pool, bare(destination)) || contains(destination, bare(pool)))
        .map(({ destination, link }) => `subnet ${pool} overlaps the host's route to ${destination} by ${link}`),
    );
  }

  /** Where the host's own traffic goes: a network there would cut the host off. `ownBridge`'s routes are left out. */
  private async occupied(ownBridge: string | undefined): Promise<string[]> {
    const routes = await this.net.routes('');
    const servers = nameServers(await readFile('/etc/resolv.conf', 'utf8').catch(() => ''));
    return [
      ...routes.filter(({ destination, link }) => !destination.endsWith('/0') && link !== ownBridge).map(({ destination }) => destination),
      ...servers.map((server) => `${server}/${server.includes(':') ? 128 : 32}`),
    ];
  }
}

/** The default driver has its pools on this host; what it is for one host, `cluster` is for networks of several. */
function driverName({ ipam, scope }: Pick<Network, 'ipam' | 'scope'>): string {
  const name = ipam.driver || 'default';
  return name === 'default' && scope === 'global' ? 'cluster' : name;
}

function contains(pool: string, address: string): boolean {
  const [base = '', prefix = ''] = pool.split('/');
  const type = isIPv6(base) ? 'ipv6' : 'ipv4';
  if (isIPv6(address) !== (type === 'ipv6')) return false;
  const list = new BlockList();
  list.addSubnet(base, Number(prefix), type);
  return list.check(address, type);
}

/** In the range that Docker's engines use: locally administered, one host's. */
const madeUpMac = (): string => ['02', '42', ...Array.from(randomBytes(4), (byte) => byte.toString(16).padStart(2, '0'))].join(':');
