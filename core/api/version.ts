import type { IncomingMessage } from 'node:http';
import { invalid } from '../contracts/errors.js';

/** The newest and the oldest version served: major is always 1, so a version is its minor number here. */
export const NEWEST = 51;
export const OLDEST = 24;
export const versionText = (minor: number): string => `1.${minor}`;

/** What a request's path said, kept beside the raw request since the router sees the path without prefix. */
export interface Target {
  /** Minor number of the version asked for; the newest when the path has none. */
  readonly version: number;
  /** Why the request is refused whatever its route: a version out of range, a path that is none. */
  readonly refusal?: Error;
}

const targets = new WeakMap<IncomingMessage, Target>();

export const targetOf = (raw: IncomingMessage): Target => targets.get(raw) ?? { version: NEWEST };

const PREFIX = /^\/v(\d+(?:\.\d+)*)(?=\/)/;

/** Strips the version and makes each image name one path segment; for the router's `rewriteUrl`. */
export function rewriteUrl(raw: IncomingMessage): string {
  const url = raw.url ?? '/';
  const prefix = PREFIX.exec(url);
  const rest = prefix ? url.slice(prefix[0].length) : url;
  try {
    targets.set(raw, { version: prefix?.[1] === undefined ? NEWEST : checkedVersion(prefix[1]) });
    return joinNames(rest);
  } catch (error) {
    targets.set(raw, { version: NEWEST, refusal: error as Error });
    return '/';
  }
}

function checkedVersion(text: string): number {
  const [major = 0, minor = 0] = text.split('.').map(Number);
  if (major > 1 || (major === 1 && minor > NEWEST)) {
    throw invalid(`client version ${text} is too new. Maximum supported API version is ${versionText(NEWEST)}`);
  }
  if (major < 1 || minor < OLDEST) {
    throw invalid(
      `client version ${text} is too old. Minimum supported API version is ${versionText(OLDEST)}, please upgrade your client to a newer version`,
    );
  }
  return minor;
}

/** Paths whose name may hold slashes: the part between is one parameter. */
const NAMED = [
  /^\/(images)\/(.+)\/(json|history|push|tag|get|attestations)$/,
  /^\/(distribution)\/(.+)\/(json)$/,
  /^\/(plugins)\/(.+)\/(json|enable|disable|push|set|upgrade)$/,
  /^\/(gantry\/v1\/plugins)\/(.+)\/(logs|trace)$/,
  /^\/(images|plugins|volumes)\/(.+)$/,
];
/** Words that are routes of their own, not names. */
const WORDS = new Set(['json', 'create', 'load', 'get', 'search', 'prune', 'pull', 'privileges']);

function joinNames(url: string): string {
  const mark = url.indexOf('?');
  const path = mark < 0 ? url : url.slice(0, mark);
  const query = mark < 0 ? '' : url.slice(mark);
  for (const pattern of NAMED) {
    const parts = pattern.exec(path);
    if (!parts) continue;
    const [, resource = '', name = '', action] = parts;
    if (action === undefined && WORDS.has(name)) break;
    let decoded: string;
    try {
      decoded = decodeURIComponent(name);
    } catch (error) {
      throw invalid(`invalid path: ${JSON.stringify(path.slice(0, 200))}`, error);
    }
    return `/${resource}/${encodeURIComponent(decoded)}${action === undefined ? '' : `/${action}`}${query}`;
  }
  return url;
}

/** JSON answers as objects that may still be changed. */
export type Answer = Record<string, unknown>;

interface Change {
  /** Applied for clients of versions below this minor number. */
  readonly below: number;
  apply(answer: Answer): void;
}

/**
 * What older clients get differently. Every answer is made once in its newest form; the changes below bring it back to what a
 * client of an older version was written for, newest change first.
 */
const changes = {
  container: [
    {
      below: 48,
      apply(answer) {
        delete answer['ImageManifestDescriptor'];
        eachEndpoint(answer, (endpoint) => delete endpoint['GwPriority']);
      },
    },
    {
      // The short id was among the aliases; DNSNames took that over.
      below: 45,
      apply(answer) {
        const short = String(answer['Id']).slice(0, 12);
        eachEndpoint(answer, (endpoint, name) => {
          if (['bridge', 'host', 'none'].includes(name)) return;
          const aliases = (endpoint['Aliases'] as string[] | null) ?? [];
          endpoint['Aliases'] = aliases.includes(short) ? aliases : [...aliases, short];
        });
      },
    },
    { below: 44, apply: (answer) => eachEndpoint(answer, (endpoint) => delete endpoint['DNSNames']) },
    {
      below: 43,
      apply(answer) {
        withoutHostConfig(answer, 'Annotations');
      },
    },
    {
      // Limits of kernel memory, which later kernels do not have.
      below: 42,
      apply(answer) {
        const hostConfig = answer['HostConfig'] as Answer;
        if ('Memory' in hostConfig) answer['HostConfig'] = { ...hostConfig, KernelMemory: 0, KernelMemoryTCP: 0 };
      },
    },
    {
      below: 41,
      apply(answer) {
        withoutHostConfig(answer, 'CgroupnsMode');
      },
    },
  ],
  image: [
    {
      below: 51,
      apply(answer) {
        if ('Containers' in answer) answer['Containers'] = -1;
      },
    },
    {
      below: 45,
      apply(answer) {
        if (!('RootFS' in answer)) return;
        answer['Container'] = '';
        answer['ContainerConfig'] = null;
      },
    },
    {
      below: 44,
      apply(answer) {
        answer['VirtualSize'] = answer['Size'];
      },
    },
    {
      // Untagged images had a name made of two nothings, in lists.
      below: 43,
      apply(answer) {
        if ('RootFS' in answer) return;
        const tags = answer['RepoTags'] as string[];
        const digests = answer['RepoDigests'] as string[];
        if (tags.length > 0) return;
        answer['RepoTags'] = ['<none>:<none>'];
        if (digests.length === 0) answer['RepoDigests'] = ['<none>@<none>'];
      },
    },
  ],
  network: [{ below: 48, apply: (answer) => void delete answer['EnableIPv4'] }],
  info: [
    {
      below: 50,
      apply(answer) {
        answer['BridgeNfIptables'] = false;
        answer['BridgeNfIp6tables'] = false;
      },
    },
    {
      below: 49,
      apply(answer) {
        const registry = answer['RegistryConfig'] as Answer;
        registry['AllowNondistributableArtifactsCIDRs'] = [];
        registry['AllowNondistributableArtifactsHostnames'] = [];
        for (const commit of ['ContainerdCommit', 'RuncCommit', 'InitCommit']) {
          const value = answer[commit] as Answer;
          value['Expected'] = value['ID'];
        }
      },
    },
    {
      below: 42,
      apply(answer) {
        answer['KernelMemory'] = false;
        answer['KernelMemoryTCP'] = false;
      },
    },
    {
      below: 25,
      apply(answer) {
        answer['ExecutionDriver'] = '<not supported>';
        answer['SecurityOptions'] = (answer['SecurityOptions'] as string[]).map(
          (option) => option.split(',')[0]?.replace(/^name=/, '') ?? option,
        );
      },
    },
  ],
  diskUsage: [
    {
      below: 42,
      apply(answer) {
        answer['BuilderSize'] = 0;
      },
    },
  ],
} satisfies Record<string, readonly Change[]>;

/** By a copy: the nested object may be shared between answers. */
function withoutHostConfig(answer: Answer, key: string): void {
  const { [key]: _dropped, ...rest } = answer['HostConfig'] as Answer;
  answer['HostConfig'] = rest;
}

function eachEndpoint(answer: Answer, change: (endpoint: Answer, name: string) => void): void {
  const networks = (answer['NetworkSettings'] as Answer | undefined)?.['Networks'] as Record<string, Answer> | undefined;
  for (const [name, endpoint] of Object.entries(networks ?? {})) change(endpoint, name);
}

/** The answer as a client of `version` expects it; changed in place and given back. */
export function adapt<T extends object>(kind: keyof typeof changes, answer: T, version: number): T {
  for (const change of changes[kind]) {
    if (version < change.below) change.apply(answer as Answer);
  }
  return answer;
}
