import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { AnyManifest, DriverContracts, DriverEnv, DriverKind } from '@gantry/core/contracts/manifest.js';
import { PluginHost } from '@gantry/plugins/host/plugin-host.js';
import { type RunningPlugin, serve } from '@gantry/plugins/sdk/server/serve.js';
import { servedParts } from '@gantry/plugins/serve/in-tree.js';

/** An in-tree driver behind a socket, and its twin in front of it. Each life of the pair is another start of plugin and daemon. */
export class OverTheWire<K extends DriverKind> {
  private readonly folder = mkdtempSync('/tmp/gantry-wire-');
  private readonly lives: { plugin: RunningPlugin; close(): Promise<void> }[] = [];

  constructor(private readonly manifest: Extract<AnyManifest, { kind: K }>) {}

  /** `env` is the driver's own; the twin has folders of its own beside. */
  async open(env: DriverEnv): Promise<{ driver: DriverContracts[K]; capabilities: readonly string[] }> {
    await this.end();
    const socket = join(this.folder, `${this.manifest.name}.sock`);
    const parts = await servedParts(this.manifest, env);
    const plugin = await serve({ ...parts, socket });
    this.lives.push({ plugin, close: () => parts.close() });
    const host = new PluginHost({
      folders: { sockets: [this.folder], specifications: [] },
      origins: [],
      log: env.log,
      logCopy: () => Promise.reject(new Error('no log is kept here')),
      changed: () => undefined,
    });
    const twin = await host.find(this.manifest.kind, this.manifest.name);
    if (!twin) throw new Error('the plugin was not found');
    const own = { ...env, root: `${env.root}-twin/a/b`, runRoot: `${env.runRoot}-twin/a/b` };
    mkdirSync(own.root, { recursive: true });
    mkdirSync(own.runRoot, { recursive: true });
    const driver = (await twin.open(own)) as unknown as { close(): Promise<void> };
    // With the daemon's side the plugin's ends, too: the folders of both go after this.
    const close = async (): Promise<void> => {
      await driver.close();
      await this.end();
    };
    const whole = Object.assign(Object.create(driver) as object, { close }) as unknown as DriverContracts[K];
    return { driver: whole, capabilities: twin.capabilities };
  }

  /** Ends the plugin of the life before. */
  async end(): Promise<void> {
    for (const life of this.lives.splice(0)) {
      await life.plugin.close();
      await life.close();
    }
  }

  async remove(): Promise<void> {
    await this.end();
    rmSync(this.folder, { recursive: true, force: true });
  }
}
