import type { IpamData } from '../../contracts/network.js';
import type { CreateNetworkRequest, Exposure, Network, NetworkView } from '../../network/networks.js';
import { textMapOf } from '../containers/container-request.js';
import type { NetworkCreateBody } from './schema.js';

export function networkRequest(body: NetworkCreateBody): CreateNetworkRequest {
  const { IPAM: ipam } = body;
  return {
    name: body.Name ?? '',
    driver: body.Driver ?? '',
    scope: body.Scope ?? '',
    enableIpv4: body.EnableIPv4 ?? true,
    enableIpv6: body.EnableIPv6 ?? false,
    internal: body.Internal ?? false,
    attachable: body.Attachable ?? false,
    ingress: body.Ingress ?? false,
    configOnly: body.ConfigOnly ?? false,
    configFrom: body.ConfigFrom?.Network ?? '',
    ipam: {
      driver: ipam?.Driver ?? '',
      options: textMapOf(ipam?.Options),
      config: (ipam?.Config ?? []).map((config) => ({
        subnet: config.Subnet ?? '',
        ipRange: config.IPRange ?? '',
        gateway: config.Gateway ?? '',
        auxAddresses: textMapOf(config.AuxiliaryAddresses ?? config.AuxAddress),
      })),
    },
    options: textMapOf(body.Options),
    labels: textMapOf(body.Labels),
  };
}

const withoutLength = (gateway: string | undefined): string => gateway?.replace(/\/\d+$/, '') ?? '';

/** What the user configured, or what was allocated where nobody did. */
function ipamConfigJson(network: Network): object[] {
  const allocated = [...network.ipv4, ...network.ipv6];
  const { config } = network.ipam;
  if (config.length === 0) return allocated.map((data) => poolJson(data.pool, '', withoutLength(data.gateway), data.auxAddresses));
  return config.map(({ subnet, ipRange, gateway, auxAddresses }, index) => {
    const data: IpamData | undefined = allocated.find(({ pool }) => pool === subnet) ?? allocated[index];
    return poolJson(subnet || (data?.pool ?? ''), ipRange, gateway || withoutLength(data?.gateway), auxAddresses);
  });
}

const poolJson = (subnet: string, range: string, gateway: string, aux: Readonly<Record<string, string>>): object => ({
  Subnet: subnet,
  ...(range ? { IPRange: range } : {}),
  ...(gateway ? { Gateway: gateway } : {}),
  ...(Object.keys(aux).length > 0 ? { AuxiliaryAddresses: aux } : {}),
});

/** Lists leave the containers out. */
export function networkJson(view: NetworkView, options: { containers: boolean }): object {
  const { network } = view;
  const containers = options.containers
    ? Object.fromEntries(
        Object.entries(view.containers).map(([id, endpoint]) => [
          id,
          {
            Name: endpoint.name,
            EndpointID: endpoint.endpointId,
            MacAddress: endpoint.mac,
            IPv4Address: endpoint.ipv4,
            IPv6Address: endpoint.ipv6,
          },
        ]),
      )
    : {};
  return {
    Name: network.name,
    Id: network.id,
    Created: network.created,
    Scope: network.scope || 'local',
    Driver: network.driver || 'bridge',
    EnableIPv4: network.enableIpv4,
    EnableIPv6: network.enableIpv6,
    IPAM: {
      Driver: network.ipam.driver || 'default',
      Options: Object.keys(network.ipam.options).length > 0 ? network.ipam.options : network.ipam.config.length > 0 ? {} : null,
      Config: ipamConfigJson(network),
    },
    Internal: network.internal,
    Attachable: network.attachable,
    Ingress: network.ingress,
    ConfigFrom: { Network: network.configFrom },
    ConfigOnly: network.configOnly,
    Containers: containers,
    Options: network.options,
    Labels: network.labels,
  };
}

export const exposureJson = ({ ports, warnings }: Exposure): object => ({
  Ports: ports.map(({ container, containerId, network, protocol, containerPort, address, port, reach }) => ({
    Container: container,
    ContainerID: containerId,
    Network: network,
    Protocol: protocol,
    ContainerPort: containerPort,
    Address: address,
    Port: port,
    Reach: reach,
  })),
  Warnings: warnings,
});
