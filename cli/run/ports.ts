import { isIP } from 'node:net';
import { csvFields } from './csv.js';
import type { PortBinding } from './body.js';

export interface PublishedPorts {
  exposed: Record<string, object>;
  bindings: Record<string, PortBinding[]>;
}

const protocols = new Set(['tcp', 'udp', 'sctp']);

/** First and last port of `80` or `80-90`. */
export const portRange = (text: string): [number, number] => {
  if (text === '') throw new Error('empty string specified for ports');
  const [first, last = first] = text.split('-', 2) as [string, string?];
  const start = portNumber(first);
  const end = portNumber(last);
  if (end < start) throw new Error(`invalid range specified for port: ${text}`);
  return [start, end];
};

const portNumber = (text: string): number => {
  if (!/^\d+$/.test(text)) throw new Error(`strconv.ParseUint: parsing ${JSON.stringify(text)}: invalid syntax`);
  if (Number(text) > 65535) throw new Error(`strconv.ParseUint: parsing ${JSON.stringify(text)}: value out of range`);
  return Number(text);
};

/** Published ports, and those that are only exposed. */
export const parsePorts = (published: readonly string[], exposed: readonly string[]): PublishedPorts => {
  const ports: PublishedPorts = { exposed: {}, bindings: {} };
  for (const text of published) publish(ports, text.includes('=') ? longForm(text) : text);
  for (const text of exposed) {
    if (text.includes(':')) throw new Error(`invalid port format for --expose: ${text}`);
    const [port, protocol] = splitProtocol(text);
    let range: [number, number];
    try {
      range = portRange(port);
    } catch (error) {
      throw new Error(`invalid range format for --expose: ${text}, error: ${(error as Error).message}`);
    }
    for (let each = range[0]; each <= range[1]; each++) ports.exposed[`${each}/${protocol}`] = {};
  }
  return ports;
};

const publish = (ports: PublishedPorts, text: string): void => {
  const { ip, host, inside } = splitAddress(text);
  const [port, protocol] = splitProtocol(inside);
  if (port === '') throw new Error(`no port specified: ${text}<empty>`);
  if (!protocols.has(protocol.toLowerCase())) throw new Error(`invalid proto: ${protocol}`);
  const address = ip.startsWith('[') && ip.endsWith(']') ? ip.slice(1, -1) : ip;
  if (address !== '' && isIP(address) === 0) throw new Error(`invalid IP address: ${address}`);
  const [first, last] = within(port, 'invalid containerPort: ');
  const [hostFirst, hostLast] = host === '' ? [0, 0] : within(host, 'invalid hostPort: ');
  // A range on the host for one port in the container means: one that is free out of these.
  if (host !== '' && last - first !== hostLast - hostFirst && last !== first) {
    throw new Error(`invalid ranges specified for container and host Ports: ${port} and ${host}`);
  }
  for (let each = first; each <= last; each++) {
    const key = `${each}/${protocol.toLowerCase()}`;
    ports.exposed[key] = {};
    const single = host === '' ? '' : String(hostFirst + each - first);
    const HostPort = host !== '' && first === last && hostFirst !== hostLast ? `${hostFirst}-${hostLast}` : single;
    (ports.bindings[key] ??= []).push({ HostIp: address, HostPort });
  }
};

const within = (text: string, message: string): [number, number] => {
  try {
    return portRange(text);
  } catch {
    throw new Error(message + text);
  }
};

const splitAddress = (text: string): { ip: string; host: string; inside: string } => {
  const parts = text.split(':');
  const inside = parts.pop() as string;
  const host = parts.pop() ?? '';
  return { ip: parts.join(':'), host, inside };
};

const splitProtocol = (text: string): [string, string] => {
  const [port, protocol] = text.split('/', 2) as [string, string?];
  return [port, protocol || 'tcp'];
};

/** `target=80,published=8080,protocol=udp` as `8080:80/udp`. */
const longForm = (text: string): string => {
  const parts: Record<string, string> = {};
  for (const field of csvFields(text)) {
    const at = field.indexOf('=');
    if (at < 0) throw new Error(`invalid field ${field}`);
    const key = field.slice(0, at).toLowerCase();
    if (!['target', 'published', 'protocol', 'mode'].includes(key)) throw new Error(`invalid field key ${key}`);
    parts[key] = field.slice(at + 1);
  }
  if (!parts['target']) throw new Error(`missing mandatory field 'target'`);
  return `${parts['published'] ? `${parts['published']}:` : ':'}${parts['target']}/${parts['protocol'] ?? 'tcp'}`;
};
