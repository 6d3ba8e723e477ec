import type { Method } from '../sdk/protocol/methods.js';

/** How long a plugin may take and how much it may say, in one place. Times are milliseconds. */
export const limits = {
  /** Until a connection stands. */
  connect: 1_000,
  /** A plugin that is being restarted is met again within this; nothing was delivered to it meanwhile. */
  reconnect: 2_000,
  activate: 5_000,
  /** Without a byte in either direction on a stream. */
  streamIdle: 60_000,
  /** Bytes of one answer. */
  answer: 1024 * 1024,
  /** Bytes of an answer that lists: 1,000 volumes take some 200 KiB. */
  listAnswer: 16 * 1024 * 1024,
  /** Bytes of an error's text that are shown. */
  errorText: 4096,
  /** Lists and objects within each other in an answer. */
  depth: 32,
  /** Bytes of a specification file. */
  specification: 64 * 1024,
  /** A plugin that hangs is left alone for this long, twice as long after each further hang, at most `longestRest`. */
  firstRest: 500,
  longestRest: 30_000,
} as const;

/** Docker's limits where it has one. */
export function deadlineOf(method: Method): number {
  switch (method) {
    case 'Plugin.Activate':
      return limits.activate;
    case 'VolumeDriver.Create':
    case 'VolumeDriver.Mount':
    case 'GraphDriver.Create':
    case 'GraphDriver.CreateReadWrite':
    case 'GraphDriver.Get':
      return 120_000;
    case 'AuthZPlugin.AuthZReq':
    case 'AuthZPlugin.AuthZRes':
    case 'VolumeDriver.Capabilities':
    case 'LogDriver.Capabilities':
    case 'NetworkDriver.GetCapabilities':
    case 'IpamDriver.GetCapabilities':
    case 'GraphDriver.Capabilities':
      return 10_000;
    case 'NetworkDriver.CreateEndpoint':
    case 'NetworkDriver.Join':
    case 'LogDriver.StartLogging':
    case 'LogDriver.StopLogging':
      return 30_000;
    default:
      return 60_000;
  }
}

export const answerLimit = (method: Method): number =>
  method === 'VolumeDriver.List' || method === 'GraphDriver.Changes' ? limits.listAnswer : limits.answer;
