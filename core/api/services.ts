import type { Containers } from '../container/containers.js';
import type { Execs } from '../container/execs.js';
import type { Images } from '../image/images.js';
import type { PluginDirectory } from '../contracts/plugin.js';
import type { Networks } from '../network/networks.js';
import type { Storage } from '../storage/storage.js';
import type { Check } from '../system/check.js';
import type { Events, System } from '../system/system.js';
import type { Plugins } from '../plugin/plugins.js';
import type { Volumes } from '../volume/volumes.js';

/** The services behind the routes. */
export interface Services {
  readonly containers: Containers;
  readonly execs: Execs;
  readonly images: Images;
  readonly networks: Networks;
  readonly volumes: Volumes;
  readonly storage: Storage;
  readonly check: Check;
  readonly managedPlugins: Plugins;
  /** Every plugin that was met, whoever runs it. */
  readonly plugins: PluginDirectory;
  readonly system: System;
  readonly events: Events;
}
