import { isIP } from 'node:net';
import { csvFields } from './csv.js';
import type { EndpointSettings, NetworkChoice } from './body.js';

export const ipAddress = (text: string): string => {
  const address = text.trim();
  if (isIP(address) === 0) throw new Error(`IP address is not correctly formatted: ${text}`);
  return address;
};

/** `name:ip` or `name=ip`; `host-gateway` stands for the host. */
export const extraHost = (text: string): string => {
  const at = text.search(/[=:]/);
  const name = text.slice(0, Math.max(at, 0));
  const address = text.slice(at + 1);
  if (at < 0 || name === '') throw new Error(`bad format for add-host: ${JSON.stringify(text)}`);
  const bare = address.startsWith('[') && address.endsWith(']') ? address.slice(1, -1) : address;
  if (bare !== 'host-gateway' && isIP(bare) === 0) throw new Error(`invalid IP address in add-host: ${JSON.stringify(address)}`);
  return `${name}:${bare}`;
};

export const linkEntry = (text: string): string => {
  if (text === '') throw new Error('empty string specified for links');
  const parts = text.split(':');
  if (parts.length > 2) throw new Error(`bad format for links: ${text}`);
  return text;
};

const empty = (target: string): NetworkChoice => ({
  target,
  aliases: [],
  driverOpts: {},
  links: [],
  ip: '',
  ip6: '',
  linkLocalIps: [],
  mac: '',
  gatewayPriority: 0,
});

/** A network's name, or `name=NET,alias=A,ip=…`. */
export const parseNetwork = (text: string): NetworkChoice => {
  const fields = csvFields(text);
  if (!/=/.test(text) || !fields.some((field) => /^\s*[\w-]+\s*=/.test(field))) return empty(text);
  const choice = empty('');
  for (const field of fields) {
    const at = field.indexOf('=');
    const key = field.slice(0, at).trim().toLowerCase();
    const value = field.slice(at + 1).trim();
    if (at < 0 || key === '') throw new Error(`invalid key value pair format in network options: ${field}`);
    setField(choice, key, value);
  }
  if (choice.target === '') throw new Error('network name/id is not specified');
  return choice;
};

const setField = (choice: NetworkChoice, key: string, value: string): void => {
  switch (key) {
    case 'name':
      choice.target = value;
      return;
    case 'alias':
      choice.aliases.push(value.trim());
      return;
    case 'ip':
      choice.ip = value;
      return;
    case 'ip6':
      choice.ip6 = value;
      return;
    case 'mac-address':
      choice.mac = macAddress(value);
      return;
    case 'link-local-ip':
      choice.linkLocalIps.push(value);
      return;
    case 'driver-opt': {
      const [name, option] = driverOption(value);
      choice.driverOpts[name] = option;
      return;
    }
    case 'gw-priority':
      if (!/^[+-]?\d+$/.test(value)) throw new Error(`invalid gw-priority (${value}): invalid syntax`);
      choice.gatewayPriority = Number(value);
      return;
    default:
      throw new Error(`invalid field key ${key}`);
  }
};

export const driverOption = (text: string): [string, string] => {
  const at = text.indexOf('=');
  const key = text.slice(0, Math.max(at, 0)).trim().toLowerCase();
  if (at < 0 || key === '') throw new Error('invalid key value pair format in driver options');
  return [key, text.slice(at + 1).trim()];
};

export const macAddress = (text: string): string => {
  if (!/^([\da-fA-F]{2}([:-][\da-fA-F]{2}){5}|[\da-fA-F]{4}(\.[\da-fA-F]{4}){2})$/.test(text))
    throw new Error(`${text} is not a valid mac address`);
  return text;
};

/** The flags that speak of "the" network, which means the first. */
export interface PlainNetworkFlags {
  aliases: readonly string[];
  links: readonly string[];
  ip: string;
  ip6: string;
  mac: string;
  linkLocalIps: readonly string[];
}

const isPrivate = (name: string): boolean => ['default', 'bridge', 'host', 'none'].includes(name) || name.startsWith('container:');

/** Endpoints by the name of their network, ready for the request. */
export const networkEndpoints = (
  choices: readonly NetworkChoice[],
  plain: PlainNetworkFlags,
): { mode: string; endpoints: Record<string, EndpointSettings> } => {
  const wanted = choices.length > 0 ? choices : [empty('default')];
  const endpoints: Record<string, EndpointSettings> = {};
  for (const [at, choice] of wanted.entries()) {
    const settings = endpoint(at === 0 ? merge(choice, plain) : choice);
    if (Object.hasOwn(endpoints, choice.target)) throw new Error(`network ${JSON.stringify(choice.target)} is specified multiple times`);
    // One network without options is told by the mode alone, which every version of the API understands.
    if (wanted.length > 1 || Object.keys(settings).length > 0) endpoints[choice.target] = settings;
  }
  const own = wanted.filter((choice) => isPrivate(choice.target)).length;
  if (own > 0 && own < wanted.length)
    throw new Error('conflicting options: cannot attach both user-defined and non-user-defined network-modes');
  return { mode: (wanted[0] as NetworkChoice).target, endpoints };
};

const merge = (choice: NetworkChoice, plain: PlainNetworkFlags): NetworkChoice => {
  const clash = (both: boolean, what: string, long: string): void => {
    if (both) throw new Error(`conflicting options: cannot specify both --${what} and per-network ${long}`);
  };
  clash(choice.aliases.length > 0 && plain.aliases.length > 0, 'network-alias', 'alias');
  clash(choice.ip !== '' && plain.ip !== '', 'ip', 'IPv4 address');
  clash(choice.ip6 !== '' && plain.ip6 !== '', 'ip6', 'IPv6 address');
  clash(choice.mac !== '' && plain.mac !== '' && choice.mac !== plain.mac, 'mac-address', 'MAC address');
  clash(choice.linkLocalIps.length > 0 && plain.linkLocalIps.length > 0, 'link-local-ip', 'link-local IP addresses');
  return {
    ...choice,
    aliases: choice.aliases.length > 0 ? choice.aliases : [...plain.aliases],
    links: [...plain.links],
    ip: choice.ip || plain.ip,
    ip6: choice.ip6 || plain.ip6,
    mac: choice.mac || plain.mac,
    linkLocalIps: choice.linkLocalIps.length > 0 ? choice.linkLocalIps : [...plain.linkLocalIps],
  };
};

const endpoint = (choice: NetworkChoice): EndpointSettings => {
  if (choice.target.trim() === '') throw new Error('no name set for network');
  if (isPrivate(choice.target) && choice.target !== 'default' && choice.target !== 'bridge' && choice.aliases.length > 0) {
    throw new Error('network-scoped aliases are only supported for user-defined networks');
  }
  if (isPrivate(choice.target) && choice.aliases.length > 0)
    throw new Error('network-scoped aliases are only supported for user-defined networks');
  if (isPrivate(choice.target) && choice.links.length > 0 && choice.target !== 'default' && choice.target !== 'bridge') {
    throw new Error('links are only supported for user-defined networks');
  }
  const addresses = {
    ...(choice.ip ? { IPv4Address: choice.ip } : {}),
    ...(choice.ip6 ? { IPv6Address: choice.ip6 } : {}),
    ...(choice.linkLocalIps.length > 0 ? { LinkLocalIPs: choice.linkLocalIps } : {}),
  };
  return {
    ...(Object.keys(addresses).length > 0 ? { IPAMConfig: addresses } : {}),
    ...(choice.aliases.length > 0 ? { Aliases: choice.aliases } : {}),
    ...(choice.links.length > 0 && !isPrivate(choice.target) ? { Links: choice.links } : {}),
    ...(choice.mac ? { MacAddress: choice.mac } : {}),
    ...(Object.keys(choice.driverOpts).length > 0 ? { DriverOpts: choice.driverOpts } : {}),
    ...(choice.gatewayPriority === 0 ? {} : { GwPriority: choice.gatewayPriority }),
  };
};
