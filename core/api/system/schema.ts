import { object, required, text } from '../json-schema.js';

export interface AuthBody {
  username?: string | null;
  password?: string | null;
  auth?: string | null;
  email?: string | null;
  serveraddress?: string | null;
  identitytoken?: string | null;
  registrytoken?: string | null;
}

export const auth = {
  body: required(
    object({ username: text, password: text, auth: text, email: text, serveraddress: text, identitytoken: text, registrytoken: text }),
  ),
};

export interface VersionAnswer {
  Platform: { Name: string };
  Components: { Name: string; Version: string; Details: Record<string, string> }[];
  Version: string;
  ApiVersion: string;
  MinAPIVersion: string;
  GitCommit: string;
  GoVersion: string;
  Os: string;
  Arch: string;
  KernelVersion: string;
  BuildTime: string;
}

/** One event as a client gets it; `timeNano` is a whole number that JavaScript cannot hold, so it is read as text where it matters. */
export interface EventAnswer {
  status?: string;
  id?: string;
  from?: string;
  Type: string;
  Action: string;
  Actor: { ID: string; Attributes: Record<string, string> };
  scope: string;
  time: number;
  timeNano: number;
}

export const EVENT_FILTERS = [
  'config',
  'container',
  'daemon',
  'event',
  'image',
  'label',
  'network',
  'node',
  'plugin',
  'scope',
  'secret',
  'service',
  'type',
  'volume',
] as const;
