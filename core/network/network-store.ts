import type { Database } from '../state/database.js';
import type { DnsConfig, EndpointState, Network } from './networks.js';

/** A network as it is kept: the record and the names of its pools in the IPAM driver. */
export interface NetworkRecord {
  readonly network: Network;
  readonly pools: readonly string[];
  /** Leased for the network itself: gateways and auxiliary addresses, by pool. */
  readonly reserved: Readonly<Record<string, readonly string[]>>;
}

/** A container's place in a network as it is kept. The record is written before the kernel is touched. */
export interface EndpointRecord {
  readonly containerId: string;
  readonly containerName: string;
  readonly hostname: string;
  readonly domainname: string;
  readonly state: EndpointState;
  /** Name of the link in the sandbox; '' when the driver gives none. */
  readonly interfaceName: string;
  /** Whether the driver gave a gateway, by family; records of an earlier version know only the first. */
  readonly routed: boolean;
  readonly routedV6?: boolean;
  /** Whether the driver leaves the way out to the engine; so it is too where an earlier version made the record of such a driver. */
  readonly lacksWayOut?: boolean;
  /** When it joined, for the choice of the default route. */
  readonly order: number;
}

export interface SandboxRecord {
  readonly containerId: string;
  readonly mode: 'private' | 'host';
  readonly dns: DnsConfig;
  readonly extraHosts: readonly string[];
}

/** The tables of core/network. Networks are synced; sandboxes and endpoints live no longer than the kernel that they are in. */
export class NetworkStore {
  constructor(private readonly db: Database) {}

  open(): void {
    this.db.migrate('network', [
      `CREATE TABLE network (id TEXT PRIMARY KEY, record TEXT NOT NULL) STRICT;
       CREATE TABLE network_sandbox (container TEXT PRIMARY KEY, record TEXT NOT NULL) STRICT;
       CREATE TABLE network_endpoint (id TEXT PRIMARY KEY, container TEXT NOT NULL, record TEXT NOT NULL) STRICT;`,
    ]);
  }

  networks(): NetworkRecord[] {
    return this.records('SELECT record FROM network');
  }

  sandboxes(): SandboxRecord[] {
    return this.records('SELECT record FROM network_sandbox');
  }

  endpoints(): EndpointRecord[] {
    return this.records('SELECT record FROM network_endpoint');
  }

  saveNetwork(record: NetworkRecord): void {
    this.db.run(
      'INSERT INTO network VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET record = excluded.record',
      record.network.id,
      JSON.stringify(record),
    );
  }

  removeNetwork(id: string): void {
    this.db.run('DELETE FROM network WHERE id = ?', id);
  }

  /** `sandbox` too in the same commit when it is given: a sandbox without endpoints needs no record. */
  saveEndpoint(record: EndpointRecord, sandbox: SandboxRecord | undefined): void {
    this.db.volatile(() => {
      if (sandbox)
        this.db.run(
          'INSERT INTO network_sandbox VALUES (?, ?) ON CONFLICT (container) DO UPDATE SET record = excluded.record',
          sandbox.containerId,
          JSON.stringify(sandbox),
        );
      this.db.run(
        'INSERT INTO network_endpoint VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET record = excluded.record',
        record.state.endpointId,
        record.containerId,
        JSON.stringify(record),
      );
    });
  }

  removeEndpoint(endpointId: string): void {
    this.db.volatile(() => this.db.run('DELETE FROM network_endpoint WHERE id = ?', endpointId));
  }

  /** With all its endpoints. */
  removeSandbox(containerId: string): void {
    this.db.volatile(() => {
      this.db.run('DELETE FROM network_endpoint WHERE container = ?', containerId);
      this.db.run('DELETE FROM network_sandbox WHERE container = ?', containerId);
    });
  }

  private records<T>(sql: string): T[] {
    return this.db.all(sql).map((row) => JSON.parse(String(row['record'])) as T);
  }
}
