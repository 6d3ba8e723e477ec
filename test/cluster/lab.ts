import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { create } from 'tar';
import { host } from '@gantry/native/index.js';
import { makeImage } from '../../cli/setup/trial-image.mjs';
import { Engine } from '../e2e/engine.js';
import { Etcd, type EtcdOptions } from './etcd.js';

const gantryd = fileURLToPath(new URL('../../cli/bin/gantryd', import.meta.url));

/** The short name of the image that every host of a lab has. */
export const IMAGE = 'box';

/** Waits for what comes to hosts by way of the store. */
export async function eventually(check: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const until = Date.now() + 90_000 * Number(process.env['GANTRY_SLOW'] ?? 1);
  while (Date.now() < until) {
    if (await check()) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`did not happen in time: ${what}`);
}

/** One machine of the lab. */
export interface LabHost {
  readonly name: string;
  readonly address: string;
  /** Its network namespace. */
  readonly path: string;
  readonly engine: Engine;
}

/**
 * Several hosts on one machine: a namespace each, joined by a switch, and one etcd beside them. `wire` is the switch, where all that
 * hosts send each other can be seen.
 */
export class Lab {
  readonly hosts: LabHost[] = [];

  private constructor(
    readonly folder: string,
    readonly wire: string,
    readonly etcd: Etcd,
    private readonly archive: string,
  ) {}

  static async open(options: Pick<EtcdOptions, 'tls'> = {}): Promise<Lab> {
    const folder = mkdtempSync('/tmp/gantry-lab-');
    const wire = join(folder, 'wire');
    await host.net.createNamespace(wire);
    await host.net.configure(wire, [
      { op: 'add-bridge', name: 'switch' },
      { op: 'set-link', name: 'switch', up: true },
    ]);
    await plug(wire, join(folder, 'store'), 'store', '10.99.0.250');
    const wrapper = ['nsenter', `--net=${join(folder, 'store')}`, '--'];
    const etcd = await Etcd.start({ address: '10.99.0.250', wrapper, ...options });
    return new Lab(folder, wire, etcd, await archiveOf(folder));
  }

  /** One more host, whose engine is a member of the cluster. */
  async add(name: string, flags: readonly string[] = []): Promise<LabHost> {
    const address = `10.99.0.${this.hosts.length + 1}`;
    const path = join(this.folder, name);
    await plug(this.wire, path, name, address);
    const program = ['nsenter', `--net=${path}`, '--', gantryd] as const;
    const engine = await Engine.start([...this.flags(address), ...flags], program, path);
    const loaded = engine.docker(['load', '-q', '-i', this.archive]);
    if (loaded.code !== 0) throw new Error(`load failed: ${loaded.stderr}\n${engine.log.slice(-2000)}`);
    const made = { name, address, path, engine };
    this.hosts.push(made);
    return made;
  }

  /** What makes an engine a member, quick in finding out that others died, but not so quick that a busy machine looks like a dead one. */
  flags(address: string): string[] {
    const options = ['discovery.heartbeat=1', 'discovery.ttl=8'].flatMap((option) => ['--cluster-store-opt', option]);
    return ['--cluster-store', this.etcd.url, '--cluster-advertise', address, ...options];
  }

  /** Pulls a host's cable, or puts it in again. */
  async connect(name: string, connected: boolean): Promise<void> {
    await host.net.configure(this.wire, [{ op: 'set-link', name, up: connected }]);
  }

  /** Stops everything; resolves to what engines left in the kernel, by host. */
  async close(): Promise<Record<string, unknown>> {
    const left: Record<string, unknown> = {};
    for (const { name, engine } of this.hosts) {
      const mine = await engine.stop();
      if (Object.keys(mine).length > 0) left[name] = mine;
    }
    await this.etcd.destroy();
    for (const file of [...this.hosts.map(({ path }) => path), join(this.folder, 'store'), this.wire]) await host.net.removeNamespace(file);
    rmSync(this.folder, { recursive: true, force: true });
    return left;
  }
}

async function plug(wire: string, path: string, name: string, address: string): Promise<void> {
  await host.net.createNamespace(path);
  await host.net.configure(wire, [{ op: 'add-veth', name, master: 'switch', up: true, peer: { name: 'eth0', namespace: path } }]);
  await host.net.configure(path, [
    { op: 'set-link', name: 'eth0', up: true },
    { op: 'add-address', link: 'eth0', address: `${address}/24` },
  ]);
}

/** The trial image as `docker load` takes it: hosts of a lab reach no registry. */
async function archiveOf(folder: string): Promise<string> {
  const image = await makeImage();
  const parts = join(folder, 'image');
  mkdirSync(parts);
  writeFileSync(join(parts, 'config.json'), image.config);
  writeFileSync(join(parts, 'layer.tar'), image.layer);
  writeFileSync(
    join(parts, 'manifest.json'),
    JSON.stringify([{ Config: 'config.json', RepoTags: [`${IMAGE}:latest`], Layers: ['layer.tar'] }]),
  );
  const file = join(folder, 'image.tar');
  await create({ cwd: parts, file, portable: true }, ['manifest.json', 'config.json', 'layer.tar']);
  return file;
}
