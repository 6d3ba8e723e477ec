import { messageOf } from '@gantry/core/contracts/errors.js';
import type { HostNet, NftCommand, NftFamily, NftTable } from '@gantry/core/contracts/host-net.js';
import type { Logger } from '@gantry/core/contracts/manifest.js';
import { type Elements, listingOf, sameListing, setsOf } from './firewall.js';

/** How often the kernel's tables are compared with ours, in case a change was missed. */
const VERIFY_INTERVAL_MS = 60_000;
/** Somebody who takes our table away may be in the middle of a reload of his own; many transactions are one alarm. */
const ALARM_DELAY_MS = 20;

const families: readonly NftFamily[] = ['ip', 'ip6'];

/** What is taken out of and put into the sets of each family. */
export type Change = Partial<Record<NftFamily, { readonly remove?: Elements; readonly add?: Elements }>>;

/**
 * Keeps the kernel's tables as the records want them: changes them by elements, one transaction after the other, and puts them back
 * when somebody else took something away.
 */
export class FirewallKeeper {
  /** The kernel must see changes in the order of the records. */
  private changes: Promise<unknown> = Promise.resolve();
  private timer: NodeJS.Timeout | undefined;
  private alarm: NodeJS.Timeout | undefined;
  private unwatch: (() => void) | undefined;

  constructor(
    private readonly net: HostNet,
    private readonly log: Logger,
    private readonly name: string,
    /** The whole table of a family as the records have it; undefined where no network needs one. */
    private readonly wanted: (family: NftFamily) => NftTable | undefined,
  ) {}

  /** Makes the kernel's tables the wanted ones, whatever they are, and keeps them from now on. */
  async start(): Promise<void> {
    await this.inTurn(() => this.replace(families));
    this.unwatch = this.net.watchNft(this.name, () => {
      this.alarm ??= setTimeout(() => {
        this.alarm = undefined;
        void this.verify();
      }, ALARM_DELAY_MS).unref();
    });
    this.timer = setInterval(() => void this.verify(), VERIFY_INTERVAL_MS);
    this.timer.unref();
  }

  /** Resolves when every change is in the kernel; the tables stay as they are. */
  async stop(): Promise<void> {
    clearInterval(this.timer);
    clearTimeout(this.alarm);
    this.unwatch?.();
    this.unwatch = undefined;
    await this.changes.catch(() => undefined);
  }

  async remove(): Promise<void> {
    await this.inTurn(() =>
      this.net.nft(
        '',
        families.map((family): NftCommand => ({ op: 'delete-table', table: this.name, family })),
      ),
    );
  }

  async change(change: Change): Promise<void> {
    await this.inTurn(async () => {
      const commands = families.flatMap((family): NftCommand[] => {
        if (!change[family]) return [];
        // The last network that needed it is gone.
        if (!this.wanted(family)) return [{ op: 'delete-table', table: this.name, family }];
        const { remove = {}, add = {} } = change[family];
        return [
          ...setsOf(family, remove).map((set): NftCommand => ({ op: 'delete-elements', table: this.name, family, set })),
          ...setsOf(family, add).map((set): NftCommand => ({ op: 'add-elements', table: this.name, family, set })),
        ];
      });
      if (commands.length === 0) return;
      try {
        await this.net.nft('', commands);
      } catch {
        // No table yet, or one that somebody changed. The records say how all of it must be.
        await this.replace(families.filter((family) => change[family]));
      }
    });
  }

  /** Whether the kernel has exactly what follows from the records; makes it so when not. */
  async verify(): Promise<boolean> {
    try {
      return await this.inTurn(async () => {
        const wrong: NftFamily[] = [];
        for (const family of families) {
          const table = this.wanted(family);
          if (!table) continue;
          const listing = await this.net.nftTable('', this.name, family);
          if (!listing || !sameListing(listing, listingOf(table))) wrong.push(family);
        }
        if (wrong.length === 0) return true;
        this.log.warn('the firewall table was changed by somebody else and is put back', { table: this.name, families: wrong });
        await this.replace(wrong);
        return false;
      });
    } catch (error) {
      this.log.warn('comparing the firewall table failed', { error: messageOf(error) });
      return false;
    }
  }

  private async replace(which: readonly NftFamily[]): Promise<void> {
    await this.net.nft(
      '',
      which.map((family): NftCommand => {
        const table = this.wanted(family);
        return table ? { op: 'replace-table', table } : { op: 'delete-table', table: this.name, family };
      }),
    );
  }

  private async inTurn<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.changes.then(work, work);
    this.changes = mine.catch(() => undefined);
    return mine;
  }
}
