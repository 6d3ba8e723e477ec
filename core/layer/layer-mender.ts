import { EngineError, messageOf } from '../contracts/errors.js';
import type { ChainId } from '../contracts/ids.js';
import type { Logger } from '../contracts/manifest.js';
import type { DriverRegistry, OpenDriver } from '../extension/driver-registry.js';
import type { InitLayers } from './init-layers.js';
import type { LayerRecords, WritableRecord } from './layer-records.js';
import { stackOf, type StackedLayer } from './stack.js';
import type { Unpacker } from './unpack.js';

/** Makes again what is gone from a driver and can be made from blobs. */
export class LayerMender {
  constructor(
    private readonly records: LayerRecords,
    private readonly drivers: DriverRegistry,
    private readonly unpacker: Unpacker,
    private readonly inits: InitLayers,
    private readonly log: Logger,
    private readonly boot: string,
  ) {}

  /** A stack as the records have it. Fails when a record in the middle is missing. */
  stackOf(driver: string, top: ChainId | undefined): StackedLayer[] {
    const records = this.records.stackBelow(driver, top);
    const stack = records.map(({ diff, blob, chain, snapshot, parent }, index): StackedLayer => ({
      diff,
      blob,
      chain,
      snapshot,
      parent,
      parentSnapshot: records[index - 1]?.snapshot,
      arriving: undefined,
    }));
    if (stack.at(-1)?.chain !== top || stack[0]?.parent !== undefined)
      throw new EngineError('system', `the layers below ${top} have no records for storage driver ${driver}`);
    return stack;
  }

  /**
   * What a container's layer stands on is there, unpacked again where somebody took it away: else the container would be mounted on
   * nothing, or on less than its image. Its own files nobody can make again.
   */
  async support(open: OpenDriver<'storage'>, { container, snapshot, chain }: WritableRecord): Promise<void> {
    if (!(await open.driver.exists(snapshot)))
      throw new EngineError('system', `the files of container ${container} are gone from storage driver ${open.name}`);
    const stack = this.stackOf(open.name, chain);
    await this.unpacker.unpack(open, stack);
    await this.inits.ensure(open, stack.at(-1));
  }

  /** Unpacks what was written in an earlier boot and never known to be on disk. */
  async mendUnsynced(): Promise<void> {
    const suspects = this.records.snapshots().filter((record) => record.boot !== '' && record.boot !== this.boot);
    const stacks = suspects.map(({ driver, chain }) => this.records.stackBelow(driver, chain));
    for (const suspect of suspects) this.records.removeSnapshot(suspect.driver, suspect.chain);
    for (const [index, { driver, chain }] of suspects.entries()) {
      this.log.warn('a layer was not on disk before the machine stopped and is unpacked again', { driver, chain });
      try {
        const layers = (stacks[index] ?? []).map(({ diff, blob }) => ({ diffId: diff, blob }));
        await this.unpacker.unpack(await this.drivers.get('storage', driver), stackOf(driver, layers));
      } catch (error) {
        this.log.error('a layer is lost until its image is pulled again', { chain, error: messageOf(error) });
      }
    }
    const stale = this.records.inits().filter((record) => record.boot !== '' && record.boot !== this.boot);
    for (const driver of new Set(stale.map((record) => record.driver))) {
      try {
        await this.inits.mend(await this.drivers.get('storage', driver));
      } catch (error) {
        this.log.warn('the places to mount on could not be made again', { driver, error: messageOf(error) });
      }
    }
  }
}
