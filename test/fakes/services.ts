import { invalid } from '@gantry/core/contracts/errors.js';
import type { Container } from '@gantry/core/container/container.js';
import { container } from './records.js';
import { FakeContainers } from './containers.js';
import { FakeExecs } from './execs.js';
import { FakeImages } from './images.js';
import { FakeNetworks } from './networks.js';
import { FakeVolumes } from './volumes.js';
import { FakeEvents } from './events.js';
import { FakeCheck, FakeStorage } from './storage.js';
import { FakePlugins, noPlugins } from './managed-plugins.js';
import { FakeSystem } from './system.js';

/** A whole engine in memory, for tests of what stands in front of it. */
export class FakeServices {
  readonly events = new FakeEvents();
  readonly containers = new FakeContainers(this.events);
  readonly execs = new FakeExecs(this.containers);
  readonly images = new FakeImages();
  readonly networks = new FakeNetworks();
  readonly volumes = new FakeVolumes();
  readonly storage = new FakeStorage();
  readonly check = new FakeCheck();
  readonly managedPlugins = new FakePlugins();
  readonly plugins = noPlugins;
  readonly system = new FakeSystem();

  /** One container that exists. */
  container(change: Partial<Container> = {}): Container {
    const record = container(change);
    this.containers.add(record);
    return record;
  }

  static badRequest = invalid('bad');
}

/** A log that keeps quiet and remembers. */
export class FakeLog {
  readonly lines: { level: string; message: string; fields?: Record<string, unknown> }[] = [];
  debug = this.writer('debug');
  info = this.writer('info');
  warn = this.writer('warn');
  error = this.writer('error');

  private writer(level: string) {
    return (message: string, fields?: Record<string, unknown>): void => {
      this.lines.push({ level, message, ...(fields ? { fields } : {}) });
    };
  }
}
