import type { ResponseOf } from '../protocol/methods.js';

export type PortProtocol = 'tcp' | 'udp' | 'sctp';

export interface PortBinding {
  readonly protocol: PortProtocol;
  readonly containerPort: number;
  /** Empty or absent: every address of the host. */
  readonly hostIp?: string;
  /** 0 or absent: the plugin chooses. */
  readonly hostPort?: number;
  readonly hostPortEnd?: number;
}

export interface PublishedPort {
  readonly protocol: PortProtocol;
  readonly containerPort: number;
  readonly hostIp: string;
  readonly hostPort: number;
}

/** Numbers of /etc/protocols, as the wire has them. */
export const protocolNumbers: Readonly<Record<PortProtocol, number>> = { tcp: 6, udp: 17, sctp: 132 };

const protocolOf = (number: unknown): PortProtocol => (number === 17 ? 'udp' : number === 132 ? 'sctp' : 'tcp');

export const PORT_MAP = 'com.docker.network.portmap';
export const EXPOSED_PORTS = 'com.docker.network.endpoint.exposedports';

/** The ports that an engine wants to have published, from the options of an endpoint. */
export function portsFrom(options: Readonly<Record<string, unknown>> | null): PortBinding[] {
  const list = options?.[PORT_MAP];
  if (!Array.isArray(list)) return [];
  return (list as Record<string, unknown>[]).map((entry) => ({
    protocol: protocolOf(entry['Proto']),
    containerPort: Number(entry['Port'] ?? 0),
    hostIp: String(entry['HostIP'] ?? ''),
    hostPort: Number(entry['HostPort'] ?? 0),
    hostPortEnd: Number(entry['HostPortEnd'] ?? entry['HostPort'] ?? 0),
  }));
}

/** The options of an endpoint that say which ports are wanted. */
export function portOptions(ports: readonly PortBinding[]): Record<string, unknown> {
  return {
    [EXPOSED_PORTS]: ports.map(({ protocol, containerPort }) => ({ Proto: protocolNumbers[protocol], Port: containerPort })),
    [PORT_MAP]: ports.map(({ protocol, containerPort, hostIp = '', hostPort = 0, hostPortEnd }) => ({
      Proto: protocolNumbers[protocol],
      IP: '',
      Port: containerPort,
      HostIP: hostIp,
      HostPort: hostPort,
      HostPortEnd: hostPortEnd || hostPort,
    })),
  };
}

type WirePorts = NonNullable<ResponseOf<'NetworkDriver.ProgramExternalConnectivity'>['Ports']>;

export const wirePublished = (ports: readonly PublishedPort[]): WirePorts =>
  ports.map(({ protocol, containerPort, hostIp, hostPort }) => ({
    Proto: protocolNumbers[protocol],
    Port: containerPort,
    HostIP: hostIp,
    HostPort: hostPort,
  }));

export const publishedFrom = (ports: WirePorts): PublishedPort[] =>
  ports.map(({ Proto, Port, HostIP, HostPort }) => ({
    protocol: protocolOf(Proto),
    containerPort: Port ?? 0,
    hostIp: HostIP ?? '',
    hostPort: HostPort ?? 0,
  }));
