import { createHash } from 'node:crypto';
import { statfsSync } from 'node:fs';
import { join } from 'node:path';
import type { NetStep } from '../contracts/host-net.js';
import type { EndpointRecord, SandboxRecord } from './network-store.js';

/** f_type of a file that holds a namespace. */
const NSFS_MAGIC = 0x6e736673;

/** Follows from the container's id, and the path from it. */
export const sandboxId = (containerId: string): string => createHash('sha256').update(`sandbox ${containerId}`).digest('hex');

export const sandboxPath = (folder: string, containerId: string): string => join(folder, sandboxId(containerId).slice(0, 12));

/** Whether the file is there and holds a namespace; a crash or an unmounted folder leaves a plain one. */
export function holdsNamespace(path: string): boolean {
  try {
    return statfsSync(path).type === NSFS_MAGIC;
  } catch {
    return false;
  }
}

/** One container's network namespace and its place in networks; in memory, while it is open. */
export class Sandbox {
  readonly endpoints: EndpointRecord[] = [];
  /** Whether the record is on disk; that happens with the first endpoint's. */
  saved = false;

  constructor(
    public record: SandboxRecord,
    /** '' for the host's own. */
    readonly path: string,
  ) {}

  get id(): string {
    return sandboxId(this.record.containerId);
  }

  endpointIn(networkId: string): EndpointRecord | undefined {
    return this.endpoints.find(({ state }) => state.networkId === networkId);
  }

  replace(record: EndpointRecord): void {
    const index = this.endpoints.findIndex(({ state }) => state.endpointId === record.state.endpointId);
    if (index >= 0) this.endpoints[index] = record;
  }

  drop(endpointId: string): void {
    const index = this.endpoints.findIndex(({ state }) => state.endpointId === endpointId);
    if (index >= 0) this.endpoints.splice(index, 1);
  }

  get nextOrder(): number {
    return Math.max(-1, ...this.endpoints.map(({ order }) => order)) + 1;
  }

  /** Lowest free number after `prefix`: what a container left is given again, as Docker does. */
  freeInterfaceName(prefix: string): string {
    const taken = new Set(this.endpoints.map(({ interfaceName }) => interfaceName));
    for (let number = 0; ; number++) if (!taken.has(`${prefix}${number}`)) return `${prefix}${number}`;
  }

  /** Whose gateway the default route goes through: the highest priority, and of equals the one that joined first. */
  gatewayEndpoint(): EndpointRecord | undefined {
    return this.preferred(({ routed }) => routed);
  }

  gatewayEndpointV6(): EndpointRecord | undefined {
    return this.preferred(({ routedV6 }) => routedV6 === true);
  }

  reachesOutside(): boolean {
    return this.endpoints.some(({ routed, routedV6 }) => routed || routedV6 === true);
  }

  /** Where packets to everywhere else go, in each family that has a way. A gateway that is not told is one whose link reaches all. */
  defaultRoutes(): NetStep[] {
    const v4 = this.gatewayEndpoint();
    const v6 = this.gatewayEndpointV6();
    return [
      ...(v4 ? [routeStep('0.0.0.0/0', v4.state.gateway, v4.interfaceName)] : []),
      ...(v6 ? [routeStep('::/0', v6.state.ipv6Gateway, v6.interfaceName)] : []),
    ];
  }

  private preferred(routed: (endpoint: EndpointRecord) => boolean): EndpointRecord | undefined {
    return this.endpoints.filter(routed).toSorted((a, b) => b.state.gatewayPriority - a.state.gatewayPriority || a.order - b.order)[0];
  }
}

const routeStep = (destination: string, gateway: string, link: string): NetStep => ({
  op: 'add-route',
  destination,
  link,
  ...(gateway && { gateway }),
});
