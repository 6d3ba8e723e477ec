import type { ContainerState } from '../../container/container.js';
import type { ContainerView } from '../../container/containers.js';
import { timeOrZero } from '../times.js';
import { containerConfigJson, hostConfigJson } from './config-json.js';
import { mountPointJson, networksJson, portsJson, type NetworkLookup } from './endpoint-json.js';

function stateJson(state: ContainerState): object {
  const { status, health } = state;
  return {
    Status: status,
    // A paused or restarting container counts as running.
    Running: status === 'running' || status === 'paused' || status === 'restarting',
    Paused: status === 'paused',
    Restarting: status === 'restarting',
    OOMKilled: state.oomKilled,
    Dead: status === 'dead',
    Pid: state.pid,
    ExitCode: state.exitCode,
    Error: state.error,
    StartedAt: timeOrZero(state.startedAt),
    FinishedAt: timeOrZero(state.finishedAt),
    ...(health
      ? {
          Health: {
            Status: health.status,
            FailingStreak: health.failingStreak,
            Log: health.log.map(({ start, end, exitCode, output }) => ({ Start: start, End: end, ExitCode: exitCode, Output: output })),
          },
        }
      : {}),
  };
}

/** The endpoint whose addresses older fields repeat: the default bridge's. */
function bridgePart(networks: Record<string, object>): object {
  const bridge = (networks['bridge'] ?? {}) as Record<string, unknown>;
  return {
    EndpointID: bridge['EndpointID'] ?? '',
    Gateway: bridge['Gateway'] ?? '',
    GlobalIPv6Address: bridge['GlobalIPv6Address'] ?? '',
    GlobalIPv6PrefixLen: bridge['GlobalIPv6PrefixLen'] ?? 0,
    IPAddress: bridge['IPAddress'] ?? '',
    IPPrefixLen: bridge['IPPrefixLen'] ?? 0,
    IPv6Gateway: bridge['IPv6Gateway'] ?? '',
    MacAddress: bridge['MacAddress'] ?? '',
  };
}

/** The answer of GET /containers/{name}/json. */
export function containerJson(view: ContainerView, lookup: NetworkLookup): object {
  const { container, size } = view;
  const networks = networksJson(view, lookup);
  return {
    Id: container.id,
    Created: container.created,
    Path: container.path,
    Args: container.args,
    State: stateJson(container.state),
    Image: container.imageId,
    ResolvConfPath: view.resolvConfPath,
    HostnamePath: view.hostnamePath,
    HostsPath: view.hostsPath,
    LogPath: view.logPath,
    Name: `/${container.name}`,
    RestartCount: container.restartCount,
    Driver: container.storageDriver,
    Platform: container.platform.split('/')[0] || 'linux',
    MountLabel: '',
    ProcessLabel: '',
    AppArmorProfile: view.apparmorProfile ?? '',
    ExecIDs: container.execIds.length > 0 ? container.execIds : null,
    HostConfig: hostConfigJson(container.hostConfig, container.name),
    GraphDriver: { Name: container.storageDriver, Data: Object.keys(view.graph).length > 0 ? view.graph : null },
    ...(size ? { SizeRw: size.writable, SizeRootFs: size.rootFs } : {}),
    Mounts: container.mounts.map(mountPointJson),
    Config: containerConfigJson(container.config),
    NetworkSettings: {
      Bridge: '',
      SandboxID: view.sandboxId,
      SandboxKey: view.sandboxKey,
      Ports: portsJson(view),
      HairpinMode: false,
      LinkLocalIPv6Address: '',
      LinkLocalIPv6PrefixLen: 0,
      SecondaryIPAddresses: null,
      SecondaryIPv6Addresses: null,
      ...bridgePart(networks),
      Networks: networks,
    },
  };
}
