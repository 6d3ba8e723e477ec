import { EngineError } from '../contracts/errors.js';
import type { PluginConfig } from './plugin-config.js';

/** Something beyond a closed box that a plugin wants, for the user to agree to. */
export interface Privilege {
  readonly name: string;
  readonly description: string;
  readonly value: readonly string[];
}

/** What a plugin asks for, in Docker's words, which its clients show. */
export function privilegesOf(config: PluginConfig): Privilege[] {
  const privileges: Privilege[] = [];
  const add = (name: string, description: string, value: readonly string[]): void => void privileges.push({ name, description, value });
  if (config.network !== '' && config.network !== 'null' && config.network !== 'bridge')
    add('network', 'permissions to access a network', [config.network]);
  if (config.ipcHost) add('host ipc namespace', 'allow access to host ipc namespace', ['true']);
  if (config.pidHost) add('host pid namespace', 'allow access to host pid namespace', ['true']);
  for (const { source } of config.mounts) if (source !== undefined) add('mount', 'host path to mount', [source]);
  for (const { path } of config.devices) if (path !== undefined) add('device', 'host device to access', [path]);
  if (config.allowAllDevices) add('allow-all-devices', "allow 'rwm' access to all devices", ['true']);
  if (config.capabilities.length > 0) add('capabilities', 'list of additional capabilities required', config.capabilities);
  return privileges;
}

/** Throws unless what the user agreed to is exactly what the plugin asks for, whatever the order. */
export function checkAgreed(wanted: readonly Privilege[], agreed: readonly Privilege[]): void {
  const key = ({ name, value }: Privilege): string => JSON.stringify([name, value.toSorted()]);
  const [left, right] = [wanted.map(key).toSorted(), agreed.map(key).toSorted()];
  if (left.length === right.length && left.every((one, at) => one === right[at])) return;
  throw new EngineError('forbidden', 'incorrect privileges: what was agreed to is not what the plugin asks for now');
}
