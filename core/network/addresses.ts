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

/** What a new network was given. */
export interface Allocation {
  readonly ipv4: readonly IpamData[];
  readonly pools: readonly string[];
  readonly reserved: Readonly<Record<string, readonly string[]>>;
}

const bare = (address: string): string => address.split('/')[0] ?? '';

/** Pools of networks and addresses of endpoints, through whichever IPAM driver a network names. */
export class Addresses {
  constructor(
    private readonly drivers: DriverRegistry,
    private readonly net: HostNet,
    private readonly log: Logger,
  ) {}

  /** One pool with its gateway for each part of the request, or one of the driver's choice. All or nothing. */
  async allocate({ ipam, options }: Pick<CreateNetworkRequest, 'ipam' | 'options'>): Promise<Allocation> {
    const driver = await this.driver(ipam.driver);
    const { local } = await driver.defaultAddressSpaces();
    const undo = new UndoStack(this.log);
    const ipv4: IpamData[] = [];
    const pools: string[] = [];
    const reserved: Record<string, string[]> = {};
    const configs: readonly IpamConfig[] =
      ipam.config.length > 0 ? ipam.config : [{ subnet: '', ipRange: '', gateway: '', auxAddresses: {} }];
    try {
      for (const config of configs) {
        const { poolId, pool } = await driver.requestPool({
          addressSpace: local,
          ...(config.subnet && { pool: config.subnet }),
          ...(config.ipRange && { subPool: config.ipRange }),
          options: ipam.options,
          v6: false,
          avoid: config.subnet ? [] : await this.occupied(options['com.docker.network.bridge.name']),
        });
        undo.push('release the pool', () => driver.releasePool(poolId));
        pools.push(poolId);
        const leases: string[] = [];
        const gateway = await driver.requestAddress(poolId, config.gateway || undefined, GATEWAY_REQUEST);
        leases.push(bare(gateway));
        for (const [name, address] of Object.entries(config.auxAddresses)) {
          if (address === bare(gateway)) continue;
          try {
            leases.push(bare(await driver.requestAddress(poolId, address, {})));
          } catch (error) {
            if (isKind(error, 'invalid-parameter')) throw invalid(`invalid auxiliary address ${name}: ${address}`, error);
            throw error;
          }
        }
        reserved[poolId] = leases;
        ipv4.push({ pool, gateway, auxAddresses: config.auxAddresses });
      }
      undo.dismiss();
      return { ipv4, pools, reserved };
    } finally {
      await undo.run();
    }
  }

  async free(record: NetworkRecord): Promise<void> {
    const driver = await this.driver(record.network.ipam.driver);
    for (const [pool, addresses] of Object.entries(record.reserved))
      for (const address of addresses) await driver.releaseAddress(pool, address);
    for (const pool of record.pools) await driver.releasePool(pool);
  }

  /** With prefix length; from the first pool that has one, or the one that `address` lies in. */
  async lease({ network, pools }: NetworkRecord, address: string): Promise<string> {
    const driver = await this.driver(network.ipam.driver);
    let last: unknown;
    for (const pool of pools) {
      try {
        return await driver.requestAddress(pool, address || undefined, {});
      } catch (error) {
        last = error;
        if (!isKind(error, address ? 'invalid-parameter' : 'unavailable')) break;
      }
    }
    if (isKind(last, 'unavailable') && !address)
      throw new EngineError('unavailable', `no available IPv4 addresses on this network's address pools: ${network.name} (${network.id})`, {
        cause: last,
      });
    throw last;
  }

  async release({ network, pools }: NetworkRecord, address: string): Promise<void> {
    if (!address) return;
    const driver = await this.driver(network.ipam.driver);
    for (const pool of pools) {
      // An address belongs to one of the pools; the others do not know it and say so or not.
      try {
        await driver.releaseAddress(pool, bare(address));
      } catch (error) {
        if (!isKind(error, 'invalid-parameter')) throw error;
      }
    }
  }

  /** Brings drivers that can into line with the records. `leases`: addresses of live endpoints by network id. */
  async audit(records: readonly NetworkRecord[], leases: ReadonlyMap<string, readonly string[]>): Promise<void> {
    const byDriver = new Map<string, NetworkRecord[]>([['default', []]]);
    for (const record of records) {
      if (record.pools.length === 0) continue;
      const name = driverName(record.network);
      byDriver.set(name, [...(byDriver.get(name) ?? []), record]);
    }
    for (const [name, list] of byDriver) {
      const open = await this.drivers.get('ipam', name);
      if (!open.has('lease-audit')) continue;
      const held = new Map<string, string[]>();
      for (const { network, pools, reserved } of list) {
        const mine = leases.get(network.id) ?? [];
        for (const [index, pool] of pools.entries()) {
          const inPool = pools.length === 1 ? mine : mine.filter((address) => contains(network.ipv4[index]?.pool ?? '', address));
          held.set(pool, [...(reserved[pool] ?? []), ...inPool]);
        }
      }
      await (open.driver as IpamDriver & LeaseAudit).audit(held);
    }
  }

  private async driver(name: string): Promise<IpamDriver> {
    return (await this.drivers.get('ipam', name || 'default')).driver;
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

const driverName = (network: Network): string => network.ipam.driver || 'default';

function contains(pool: string, address: string): boolean {
  const [base = '', prefix = '32'] = pool.split('/');
  const number = (text: string): number => text.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
  const size = 2 ** (32 - Number(prefix));
  return Math.floor(number(base) / size) === Math.floor(number(bare(address)) / size);
}
