import { EngineError, isKind } from '@gantry/core/contracts/errors.js';
import type {
  CreateNetwork,
  EndpointInterface,
  IpamData,
  JoinInfo,
  NetworkDriver,
  PortBinding,
  PublishedPort,
} from '@gantry/core/contracts/network.js';
import { misbehaved } from '../host/answers.js';
import type { Plugin } from '../host/plugin.js';
import type { JsonMethod, RequestOf, ResponseOf } from '../sdk/protocol/methods.js';
import { portOptions, publishedFrom } from '../sdk/server/ports.js';

type WireOptions = Record<string, unknown>;

/** A link's name as the kernel takes it. */
const LINK = /^[^\s/:]{1,15}$/;
const PREFIX = /^[A-Za-z][A-Za-z0-9_-]{0,11}$/;
const ADDRESS = /^[0-9a-fA-F:.]+$/;
const MAC = /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i;
const CIDR = /^[0-9a-fA-F:.]+\/\d{1,3}$/;

/**
 * A network driver in another process. It keeps its networks over restarts of this one (capability `keeps-state`), so nothing is
 * given to it twice.
 */
export class RemoteNetworkDriver implements NetworkDriver {
  constructor(
    private readonly plugin: Plugin,
    readonly scope: 'local' | 'global',
  ) {}

  async createNetwork(networkId: string, config: CreateNetwork): Promise<void> {
    const options: WireOptions = {
      'com.docker.network.enable_ipv6': config.ipv6.length > 0,
      'com.docker.network.generic': { ...config.options },
      ...(config.internal && { 'com.docker.network.internal': true }),
    };
    await this.plugin.call('NetworkDriver.CreateNetwork', {
      NetworkID: networkId,
      Options: options,
      IPv4Data: config.ipv4.map(wireData),
      IPv6Data: config.ipv6.map(wireData),
    });
  }

  deleteNetwork(networkId: string): Promise<void> {
    return this.takeAway('NetworkDriver.DeleteNetwork', { NetworkID: networkId });
  }

  async createEndpoint(
    networkId: string,
    endpointId: string,
    iface: EndpointInterface,
    options: Readonly<Record<string, string>>,
    ports: readonly PortBinding[] = [],
  ): Promise<EndpointInterface> {
    const { Interface } = await this.plugin.call('NetworkDriver.CreateEndpoint', {
      NetworkID: networkId,
      EndpointID: endpointId,
      Interface: { Address: iface.address ?? '', AddressIPv6: iface.addressV6 ?? '', MacAddress: iface.mac ?? '' },
      Options: { ...options, ...portOptions(ports), ...(iface.mac && { 'com.docker.network.endpoint.macaddress': macBytes(iface.mac) }) },
    });
    const given: readonly [string | null | undefined, string | undefined, RegExp, string][] = [
      [Interface?.Address, iface.address, CIDR, 'address'],
      [Interface?.AddressIPv6, iface.addressV6, CIDR, 'IPv6 address'],
      [Interface?.MacAddress, iface.mac, MAC, 'MAC address'],
    ];
    const [address, addressV6, mac] = given.map(([answered, asked, form, what]) => {
      if (!answered) return asked;
      if (asked !== undefined && asked !== '') throw this.wrong('NetworkDriver.CreateEndpoint', `driver modified the interface's ${what}`);
      if (!form.test(answered)) throw this.wrong('NetworkDriver.CreateEndpoint', `${JSON.stringify(answered.slice(0, 60))} is no ${what}`);
      return answered;
    });
    return { ...(address && { address }), ...(addressV6 && { addressV6 }), ...(mac && { mac: mac.toLowerCase() }) };
  }

  deleteEndpoint(networkId: string, endpointId: string): Promise<void> {
    return this.takeAway('NetworkDriver.DeleteEndpoint', { NetworkID: networkId, EndpointID: endpointId });
  }

  async join(networkId: string, endpointId: string, sandboxPath: string, ports: readonly PortBinding[] = []): Promise<JoinInfo> {
    const answer = await this.plugin.call('NetworkDriver.Join', {
      NetworkID: networkId,
      EndpointID: endpointId,
      SandboxKey: sandboxPath,
      Options: portOptions(ports),
    });
    return this.joined(answer);
  }

  leave(networkId: string, endpointId: string): Promise<void> {
    return this.takeAway('NetworkDriver.Leave', { NetworkID: networkId, EndpointID: endpointId });
  }

  async publish(networkId: string, endpointId: string, ports: readonly PortBinding[]): Promise<PublishedPort[]> {
    const asked = { NetworkID: networkId, EndpointID: endpointId, Options: portOptions(ports) };
    try {
      const { Ports } = await this.plugin.call('NetworkDriver.ProgramExternalConnectivity', asked);
      if (Ports) return publishedFrom(Ports);
    } catch (error) {
      // Drivers that read the ports from the endpoint's options have no such method.
      if (!isKind(error, 'not-implemented')) throw error;
    }
    return ports.map(({ protocol, containerPort, hostIp = '', hostPort = 0 }) => ({ protocol, containerPort, hostIp, hostPort }));
  }

  unpublish(networkId: string, endpointId: string): Promise<void> {
    return this.takeAway('NetworkDriver.RevokeExternalConnectivity', { NetworkID: networkId, EndpointID: endpointId });
  }

  async settle(): Promise<void> {}

  async close(): Promise<void> {}

  /** What a plugin answers to the end of something is logged, as Docker does, so that everything can be removed; what never reached it is not done. */
  private async takeAway<M extends Extract<JsonMethod, `NetworkDriver.${'Delete' | 'Leave' | 'Revoke'}${string}`>>(
    method: M,
    request: RequestOf<M>,
  ): Promise<void> {
    try {
      await this.plugin.call(method, request);
    } catch (error) {
      if (!(error instanceof EngineError) || ['unavailable', 'cancelled', 'forbidden', 'conflict'].includes(error.kind)) throw error;
      if (error.kind !== 'not-found' && error.kind !== 'not-implemented') this.plugin.refused(method, error);
    }
  }

  private joined(answer: ResponseOf<'NetworkDriver.Join'>): JoinInfo {
    const { InterfaceName, Gateway, GatewayIPv6, StaticRoutes, DisableGatewayService } = answer;
    const check = (text: string, form: RegExp, what: string): string => {
      if (form.test(text)) return text;
      throw this.wrong('NetworkDriver.Join', `${JSON.stringify(text.slice(0, 60))} is no ${what}`);
    };
    const source = InterfaceName?.SrcName ?? '';
    return {
      ...(source !== '' && {
        link: {
          srcName: check(source, LINK, "link's name"),
          dstPrefix: check(InterfaceName?.DstPrefix || 'eth', PREFIX, "beginning of a link's name"),
          ...(InterfaceName?.InSandbox && { inSandbox: true }),
        },
      }),
      ...(Gateway && { gateway: check(Gateway, ADDRESS, 'gateway') }),
      ...(GatewayIPv6 && { gatewayV6: check(GatewayIPv6, ADDRESS, 'gateway') }),
      routes: (StaticRoutes ?? []).map(({ Destination, RouteType, NextHop }) => ({
        destination: check(Destination ?? '', CIDR, 'destination of a route'),
        ...(RouteType !== 1 && NextHop && { nextHop: check(NextHop, ADDRESS, 'next hop') }),
      })),
      ...(DisableGatewayService && { disableGateway: true }),
    };
  }

  private wrong(method: string, what: string): EngineError {
    return misbehaved(this.plugin.name, method, what);
  }
}

const wireData = ({ pool, gateway, auxAddresses }: IpamData): object => ({
  AddressSpace: 'LocalDefault',
  Pool: pool,
  ...(gateway && { Gateway: gateway }),
  AuxAddresses: { ...auxAddresses },
});

/** As Go's JSON writes a slice of bytes. */
const macBytes = (mac: string): string => Buffer.from(mac.replaceAll(':', ''), 'hex').toString('base64');

/** A driver that does not say its scope is of no use to anybody. */
export async function networkScope(plugin: Plugin): Promise<'local' | 'global'> {
  const { Scope } = await plugin.call('NetworkDriver.GetCapabilities', undefined);
  return Scope;
}
