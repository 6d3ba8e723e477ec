import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { EngineError, invalid, unavailable } from '@gantry/core/contracts/errors.js';
import type { HostDevices } from '@gantry/core/contracts/host-devices.js';
import type { DriverEnv } from '@gantry/core/contracts/manifest.js';
import { isErrno } from '../backing.js';
import type { PoolSettings } from './settings.js';

const SECTOR = 512;
/** Of a pool's metadata, in its first block. */
const METADATA_MAGIC = 27_022_010n;
const MAGIC_OFFSET = 32;
/** Looked at before a device is taken for empty: every usual file system and partition table has its mark in it. */
const LOOKED_AT = 1 << 20;

export interface PoolState {
  readonly transaction: number;
  readonly metadata: { readonly used: number; readonly total: number };
  readonly data: { readonly used: number; readonly total: number };
  /** `rw`, `ro`, `out_of_data_space` or `Fail`. */
  readonly mode: string;
}

/** The thin pool: made active from what the settings name, and asked for thin devices by number. */
export class ThinPool {
  /** The pool's device. */
  device = '';

  constructor(
    private readonly env: DriverEnv,
    private readonly dm: HostDevices,
    private readonly settings: PoolSettings,
    /** What every device of this driver is called at the beginning. */
    private readonly prefix: string,
  ) {}

  private get name(): string {
    return this.settings.source.kind === 'pool' ? (this.settings.source.device.split('/').at(-1) ?? '') : `${this.prefix}pool`;
  }

  /** Active already after a restart of the daemon: then it is used as it is. */
  async open(): Promise<void> {
    const { source } = this.settings;
    if (source.kind === 'pool') return this.adopt(source.device);
    const active = await this.dm.info(this.name);
    if (active) {
      this.device = `${active.major}:${active.minor}`;
      return;
    }
    if (source.kind === 'loop') await this.openLoops(source.dataBytes, source.metadataBytes);
    else await this.openDevice(source.device, source.force, source.metadataPercent);
  }

  /** When nothing of it is in use. */
  async close(): Promise<void> {
    if (this.settings.source.kind === 'pool') return;
    for (const part of ['pool', 'data', 'meta']) {
      try {
        await this.dm.remove(`${this.prefix}${part}`, { deferred: false });
      } catch (error) {
        // Containers outlive the daemon, and their devices the pool's closing.
        if (!isErrno(error, 'EBUSY')) throw error;
        return;
      }
    }
  }

  async state(): Promise<PoolState> {
    const [target] = await this.dm.status(this.name);
    const words = target?.params.split(' ') ?? [];
    if (words[0] === 'Fail' || words.length < 3) {
      const none = { used: 0, total: 0 };
      return { transaction: 0, metadata: none, data: none, mode: 'Fail' };
    }
    const pair = (text = ''): { used: number; total: number } => {
      const [used = 0, total = 0] = text.split('/').map(Number);
      return { used, total };
    };
    const mode = words.find((word) => word === 'rw' || word === 'ro' || word === 'out_of_data_space') ?? 'rw';
    return { transaction: Number(words[0]), metadata: pair(words[1]), data: pair(words[2]), mode };
  }

  /** Refuses when too little is free, before anything is made. */
  async refuseWhenFull(): Promise<void> {
    const { metadata, data, mode } = await this.state();
    if (mode !== 'rw')
      throw new EngineError('system', `the thin pool ${this.name} takes nothing new: it is ${mode === 'Fail' ? 'broken' : mode}`);
    for (const [what, { used, total }] of [
      ['data', data],
      ['metadata', metadata],
    ] as const) {
      const free = total - used;
      if (free * 100 < total * this.settings.minFreePercent)
        throw new EngineError(
          'system',
          `the thin pool ${this.name} has ${free} free ${what} blocks of ${total}, less than dm.min_free_space=${this.settings.minFreePercent}%: no space left on device`,
        );
    }
  }

  async createThin(number: number): Promise<void> {
    await this.dm.message(this.name, `create_thin ${number}`);
  }

  /** The origin is at rest, or suspended by the caller. */
  async createSnapshot(number: number, origin: number): Promise<void> {
    await this.dm.message(this.name, `create_snap ${number} ${origin}`);
  }

  /** One that is not there is fine. */
  async deleteThin(number: number): Promise<void> {
    try {
      await this.dm.message(this.name, `delete ${number}`);
    } catch (error) {
      if (!isErrno(error, 'ENODATA')) throw error;
    }
  }

  /** Writes the pool's metadata, and with it all that was asked for before, to disk; gives back its new number. */
  async commit(): Promise<number> {
    const { transaction } = await this.state();
    await this.dm.message(this.name, `set_transaction_id ${transaction} ${transaction + 1}`);
    return transaction + 1;
  }

  private async adopt(path: string): Promise<void> {
    const info = await this.dm.info(this.name);
    if (!info) throw unavailable(`there is no thin pool ${path} (dm.thinpooldev)`);
    const [target] = await this.dm.status(this.name);
    if (target?.type !== 'thin-pool')
      throw invalid(`dm.thinpooldev: ${path} is a ${target?.type ?? 'device without table'}, not a thin pool`);
    this.device = `${info.major}:${info.minor}`;
  }

  private async openLoops(dataBytes: number, metadataBytes: number): Promise<void> {
    this.env.log.warn(
      'the storage driver devicemapper works on loop files, which is for trial only; name a device with dm.thinpooldev',
      {},
    );
    const held: number[] = [];
    try {
      const parts: string[] = [];
      let sectors = 0;
      for (const [name, bytes] of [
        ['metadata', metadataBytes],
        ['data', dataBytes],
      ] as const) {
        const path = join(this.env.root, name);
        const file = await open(path, 'a', 0o600);
        try {
          if ((await file.stat()).size === 0) await file.truncate(bytes);
        } finally {
          await file.close();
        }
        const loop = await this.dm.attachLoop(path);
        held.push(loop.fd);
        parts.push(`${loop.major}:${loop.minor}`);
        sectors = Math.floor(loop.bytes / SECTOR);
      }
      await this.activate(parts[0] ?? '', parts[1] ?? '', sectors);
    } finally {
      // The pool holds them now, or nobody does and they end.
      for (const fd of held) this.env.host.process.closeFd(fd);
    }
  }

  /** The first part of the device keeps metadata, the rest data. */
  private async openDevice(path: string, force: boolean, metadataPercent: number): Promise<void> {
    const device = await this.dm.blockDevice(path).catch((error: unknown) => {
      throw unavailable(`dm.directlvm_device ${path} cannot be used: ${(error as Error).message}`, error);
    });
    const total = Math.floor(device.bytes / SECTOR);
    const block = this.settings.blockSectors;
    // Never more than the pool can use, which is 16 GiB less a little.
    const metadata = Math.min(Math.max(Math.floor((total * metadataPercent) / 100 / block) * block, 8 * block), 33_292_800);
    await this.claim(path, force);
    const numbers = `${device.major}:${device.minor}`;
    const part = async (name: string, start: number, length: number): Promise<string> => {
      const full = `${this.prefix}${name}`;
      const info =
        (await this.dm.info(full)) ??
        (await this.dm.create(full, '', [{ type: 'linear', start: 0, length, params: `${numbers} ${start}` }]));
      return `${info.major}:${info.minor}`;
    };
    const data = Math.floor((total - metadata) / block) * block;
    await this.activate(await part('meta', 0, metadata), await part('data', metadata, data), data);
  }

  /** Takes a device that is a pool of this kind already, or empty; else only by force. */
  private async claim(path: string, force: boolean): Promise<void> {
    const file = await open(path, 'r+');
    try {
      const head = Buffer.alloc(LOOKED_AT);
      await file.read(head, 0, LOOKED_AT, 0);
      if (head.readBigUInt64LE(MAGIC_OFFSET) === METADATA_MAGIC) return;
      if (head.every((byte) => byte === 0)) return;
      if (!force) throw invalid(`${path} is not empty; dm.directlvm_device_force=true takes it all the same and destroys what is on it`);
      // A pool is made where the first block of the metadata is zero.
      await file.write(Buffer.alloc(LOOKED_AT), 0, LOOKED_AT, 0);
      await file.sync();
    } finally {
      await file.close();
    }
  }

  private async activate(metadata: string, data: string, sectors: number): Promise<void> {
    const { blockSectors } = this.settings;
    const length = Math.floor(sectors / blockSectors) * blockSectors;
    const lowWater = Math.floor(((length / blockSectors) * this.settings.minFreePercent) / 100);
    const info = await this.dm.create(this.name, '', [
      {
        type: 'thin-pool',
        start: 0,
        length,
        // A full pool is an error to whoever writes, at once, instead of a writer that waits for a minute.
        params: `${metadata} ${data} ${blockSectors} ${lowWater} 2 skip_block_zeroing error_if_no_space`,
      },
    ]);
    this.device = `${info.major}:${info.minor}`;
  }
}
