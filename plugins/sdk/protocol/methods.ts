import { messages } from './messages.js';
import type { Infer, Schema } from './schema.js';

export type Messages = typeof messages;
export type Method = keyof Messages;
/** Methods whose request and response are both JSON, or nothing. */
export type JsonMethod = { [M in Method]: 'stream' extends Messages[M]['request'] | Messages[M]['response'] ? never : M }[Method];

export type RequestOf<M extends Method> = Messages[M]['request'] extends Schema<unknown> ? Infer<Messages[M]['request']> : undefined;
export type ResponseOf<M extends Method> = Messages[M]['response'] extends Schema<unknown> ? Infer<Messages[M]['response']> : undefined;

export const isMethod = (name: string): name is Method => Object.hasOwn(messages, name);

/** `undefined` for an empty body, `stream` for bytes that are not JSON. */
export function describe(method: Method): {
  readonly request: Schema<unknown> | 'stream' | undefined;
  readonly response: Schema<unknown> | 'stream';
} {
  return messages[method];
}

/** What engines of today send and expect; older words are accepted from anybody. */
export const MEDIA_TYPE = 'application/vnd.docker.plugins.v1.2+json';

/** The protocol's word for a kind, by the beginning of its methods' names. */
export const kindOfMethod = (method: Method): string => {
  const [subject = ''] = method.split('.');
  return subject === 'AuthZPlugin' ? 'authz' : subject;
};

/** Methods that a plugin may answer with 404: engines then do without. */
export const optionalMethods: ReadonlySet<Method> = new Set<Method>([
  'VolumeDriver.Capabilities',
  'NetworkDriver.ProgramExternalConnectivity',
  'NetworkDriver.RevokeExternalConnectivity',
  'NetworkDriver.EndpointOperInfo',
  'IpamDriver.GetCapabilities',
  'GraphDriver.Capabilities',
  'GraphDriver.GetMetadata',
  'LogDriver.Capabilities',
  'LogDriver.ReadLogs',
  'MetricsCollector.StopMetrics',
]);
