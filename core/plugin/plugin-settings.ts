import { conflict, invalid } from '../contracts/errors.js';
import type { ConfigDevice, ConfigMount, PluginConfig } from './plugin-config.js';

/** What a user chose for a plugin, beside what its author did. */
export interface PluginSettings {
  readonly mounts: readonly ConfigMount[];
  /** `NAME=value` */
  readonly env: readonly string[];
  readonly args: readonly string[];
  readonly devices: readonly ConfigDevice[];
}

export const initialSettings = (config: PluginConfig): PluginSettings => ({
  mounts: config.mounts,
  env: config.env.flatMap(({ name, value }) => (value === undefined ? [] : [`${name}=${value}`])),
  args: config.args.value,
  devices: config.devices,
});

interface Setting {
  readonly name: string;
  /** '' for the one that its kind has. */
  readonly field: string;
  readonly value: string;
}

/** `NAME=value` or `NAME.field=value`. */
function parseSetting(text: string, config: PluginConfig): Setting {
  const equals = text.indexOf('=');
  if (equals < 1) throw invalid(`invalid setting ${JSON.stringify(text.slice(0, 100))}: NAME[.field]=value is expected`);
  const [whole, value] = [text.slice(0, equals), text.slice(equals + 1)];
  const names = new Set([...config.env, ...config.mounts, ...config.devices, config.args].map(({ name }) => name));
  const dot = whole.lastIndexOf('.');
  // A name may have a dot of its own.
  if (names.has(whole) || dot < 1) return { name: whole, field: '', value };
  return { name: whole.slice(0, dot), field: whole.slice(dot + 1), value };
}

/** Settings with a user's changes. Only what the author declared settable can be set. */
export function applySettings(config: PluginConfig, settings: PluginSettings, changes: readonly string[]): PluginSettings {
  let result = settings;
  for (const change of changes) result = applyOne(config, result, parseSetting(change, config));
  return result;
}

function applyOne(config: PluginConfig, settings: PluginSettings, setting: Setting): PluginSettings {
  const { name, value } = setting;
  const env = config.env.find((one) => one.name === name);
  if (env) {
    check(setting, 'value', env.settable);
    const entry = `${name}=${value}`;
    const at = settings.env.findIndex((one) => one.startsWith(`${name}=`));
    return { ...settings, env: at < 0 ? [...settings.env, entry] : settings.env.with(at, entry) };
  }
  const mount = config.mounts.find((one) => one.name === name);
  if (mount) {
    check(setting, 'source', mount.settable);
    if (!value.startsWith('/')) throw invalid(`the source of mount ${JSON.stringify(name)} must be an absolute path`);
    return { ...settings, mounts: settings.mounts.map((one) => (one.name === name ? { ...one, source: value } : one)) };
  }
  const device = config.devices.find((one) => one.name === name);
  if (device) {
    check(setting, 'path', device.settable);
    if (!value.startsWith('/')) throw invalid(`the path of device ${JSON.stringify(name)} must be absolute`);
    return { ...settings, devices: settings.devices.map((one) => (one.name === name ? { ...one, path: value } : one)) };
  }
  if (config.args.name === name && name !== '') {
    check(setting, 'value', config.args.settable);
    return { ...settings, args: value.split(' ') };
  }
  throw invalid(`setting ${JSON.stringify(name)} not found in the plugin configuration`);
}

function check({ name, field }: Setting, only: string, settable: readonly string[]): void {
  const wanted = field || only;
  const known = settable.filter((one) => one === only);
  if (wanted === only && known.length > 0) return;
  throw conflict(`${JSON.stringify(field === '' ? name : `${name}.${field}`)} is not settable`);
}

/** The settings for another version of a plugin: its own defaults, and what the user had chosen where that still can be. */
export function carriedOver(from: { config: PluginConfig; settings: PluginSettings }, to: PluginConfig): PluginSettings {
  const defaults = initialSettings(from.config);
  const changes: string[] = [];
  for (const entry of from.settings.env) if (!defaults.env.includes(entry)) changes.push(entry);
  for (const mount of from.settings.mounts) {
    const before = defaults.mounts.find(({ name }) => name === mount.name);
    if (mount.source !== undefined && mount.source !== before?.source) changes.push(`${mount.name}=${mount.source}`);
  }
  for (const device of from.settings.devices) {
    const before = defaults.devices.find(({ name }) => name === device.name);
    if (device.path !== undefined && device.path !== before?.path) changes.push(`${device.name}=${device.path}`);
  }
  if (from.settings.args.join('\0') !== defaults.args.join('\0')) changes.push(`${from.config.args.name}=${from.settings.args.join(' ')}`);
  let result = initialSettings(to);
  for (const change of changes) {
    try {
      result = applySettings(to, result, [change]);
    } catch {
      // The new version has no such setting any more.
    }
  }
  return result;
}
