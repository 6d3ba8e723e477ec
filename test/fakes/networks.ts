import { EngineError } from '@gantry/core/contracts/errors.js';
import { newId } from '@gantry/core/contracts/ids.js';
import type { Networks } from '@gantry/core/network/networks.js';
import { network, unused } from './records.js';

export class FakeNetworks implements Networks {
  readonly calls: [string, ...unknown[]][] = [];
  readonly networks = new Map([['bridge', network()]]);

  async create(request: Parameters<Networks['create']>[0]): ReturnType<Networks['create']> {
    this.calls.push(['create', request]);
    const id = newId();
    this.networks.set(request.name, network({ ...request, id }));
    return { id, warning: '' };
  }

  async list(filters: ReadonlyMap<string, readonly string[]>): ReturnType<Networks['list']> {
    this.calls.push(['list', filters]);
    return [...this.networks.values()].map((each) => ({ network: each, containers: {} }));
  }

  async inspect(name: string): ReturnType<Networks['inspect']> {
    const found = this.find(name);
    if (!found) throw new EngineError('not-found', `network ${name} not found`);
    return {
      network: found,
      containers: {
        ['c'.repeat(64)]: { name: 'web', endpointId: 'e'.repeat(64), mac: '02:42:ac:11:00:02', ipv4: '172.17.0.2/16', ipv6: '' },
      },
    };
  }

  async remove(name: string): Promise<void> {
    this.calls.push(['remove', name]);
    if (name === 'bridge') throw new EngineError('forbidden', 'bridge is a pre-defined network and cannot be removed');
    this.networks.delete(name);
  }

  async prune(filters: ReadonlyMap<string, readonly string[]>): Promise<string[]> {
    this.calls.push(['prune', filters]);
    return [];
  }

  find(name: string): ReturnType<Networks['find']> {
    return this.networks.get(name) ?? [...this.networks.values()].find(({ id }) => id === name);
  }

  openSandbox = unused;
  closeSandbox = unused;
  join = unused;
  publish = unused;
  async exposure(): ReturnType<Networks['exposure']> {
    return {
      ports: [
        {
          container: 'web',
          containerId: 'c'.repeat(64),
          network: 'bridge',
          protocol: 'tcp',
          containerPort: 80,
          address: '127.0.0.1',
          port: 8080,
          reach: 'this-host',
        },
      ],
      warnings: ['the weather'],
    };
  }
  hostWarnings = async (): Promise<string[]> => [];
  leave = unused;
  endpointsOf = unused;
  sandboxOf = unused;
  rename = unused;
  dropLinks = unused;
  nameFiles = unused;
  counters = unused;
  restore = unused;
}
