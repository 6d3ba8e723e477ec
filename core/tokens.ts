import type { InjectionToken } from 'tsyringe';

const token = <T>(name: string): InjectionToken<T> => Symbol(name) as InjectionToken<T>;

/** Every injectable service, named once. Bound in cli/gantryd/compose.ts and nowhere else. */
export const Tokens = {
  Settings: token<import('./system/settings.js').Settings>('Settings'),
  Log: token<import('./contracts/manifest.js').Logger>('Log'),
  Host: token<import('./contracts/host.js').Host>('Host'),
  Database: token<import('./state/database.js').Database>('Database'),
  Journal: token<import('./state/journal.js').Journal>('Journal'),
  Drivers: token<import('./extension/driver-registry.js').DriverRegistry>('Drivers'),
  Plugins: token<import('./contracts/plugin.js').PluginDirectory>('Plugins'),
  Events: token<import('./system/system.js').Events>('Events'),
  Content: token<import('./content/content.js').Content>('Content'),
  Layers: token<import('./layer/layers.js').Layers>('Layers'),
  Images: token<import('./image/images.js').Images>('Images'),
  Networks: token<import('./network/networks.js').Networks>('Networks'),
  Volumes: token<import('./volume/volumes.js').Volumes>('Volumes'),
  /** What containers and execs share. */
  ContainerRoom: token<import('./container/room.js').ContainerRoom>('ContainerRoom'),
  ManagedPlugins: token<import('./plugin/plugins.js').Plugins>('ManagedPlugins'),
  Containers: token<import('./container/containers.js').Containers>('Containers'),
  Execs: token<import('./container/execs.js').Execs>('Execs'),
  Storage: token<import('./storage/storage.js').Storage>('Storage'),
  Check: token<import('./system/check.js').Check>('Check'),
  System: token<import('./system/system.js').System>('System'),
};
