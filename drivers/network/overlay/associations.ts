import { createHash, hkdfSync } from 'node:crypto';
import type { EncryptionPolicy } from '@gantry/core/contracts/host-net.js';
import type { ClusterKey } from './key-ring.js';

/** A time in which one engine sends with keys made from one of the cluster's. Never used by two engines or two lives of one. */
export interface Epoch {
  readonly id: string;
  /** Which of the cluster's keys. */
  readonly key: string;
}

/** An engine that has encrypted networks, and the epochs that it may send in. */
export interface Peer {
  readonly address: string;
  readonly epochs: readonly Epoch[];
}

/** Encryption from one host to another in one epoch. */
export interface Association {
  readonly source: string;
  readonly destination: string;
  readonly spi: number;
  readonly key: Buffer;
}

const LOWEST_SPI = 256;

/**
 * The key and the number of one direction in one epoch. Each direction of each epoch has a key of its own: AES-GCM is broken by two
 * packets with one key and one number, and two senders, or a sender that starts again, count from the same one.
 */
export function associate(source: string, destination: string, epoch: Epoch, keys: readonly ClusterKey[]): Association | undefined {
  const secret = keys.find(({ id }) => id === epoch.key)?.secret;
  if (secret === undefined) return undefined;
  const path = `gantry overlay ${source} ${destination} ${epoch.id} ${epoch.key}`;
  const key = Buffer.from(hkdfSync('sha256', Buffer.from(secret, 'base64'), '', path, 36));
  const spi = createHash('sha256').update(path).digest().readUInt32BE(0);
  return { source, destination, spi: spi < LOWEST_SPI ? spi + LOWEST_SPI : spi, key };
}

/** What decides about a packet; the first two are for every host that is no peer, so that nothing ever travels in plain text. */
export const Priority = { peer: 100, others: 200 } as const;

export interface WantedPolicy extends EncryptionPolicy {
  readonly priority: number;
}

/** Nothing leaves for, or arrives from, anybody. */
export function blockingPolicies(self: string): WantedPolicy[] {
  const [mine, anybody] = self.includes(':') ? [`${self}/128`, '::/0'] : [`${self}/32`, '0.0.0.0/0'];
  return [
    { direction: 'out', source: mine, destination: anybody, block: true, spi: 0, priority: Priority.others },
    { direction: 'in', source: anybody, destination: mine, block: true, spi: 0, priority: Priority.others },
  ];
}

/** Encrypted to and from one peer, with the association that `spi` names when packets leave. */
export function peerPolicies(self: string, peer: string, spi: number): WantedPolicy[] {
  return [
    { direction: 'out', source: self, destination: peer, block: false, spi, priority: Priority.peer },
    { direction: 'in', source: peer, destination: self, block: false, spi: 0, priority: Priority.peer },
  ];
}
