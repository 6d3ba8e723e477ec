import { invalid } from '../contracts/errors.js';
import type { HostFiles } from '../contracts/host-files.js';
import { LIMITS } from './limits.js';

/** Numbers for the kernel; names never go further than this file. */
export interface ResolvedUser {
  readonly uid: number;
  readonly gid: number;
  /** The primary one included, as a login would have it. */
  readonly additionalGids: readonly number[];
  readonly home: string;
}

const LARGEST_ID = 2 ** 31 - 1;

interface PasswdEntry {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
}

interface GroupEntry {
  readonly name: string;
  readonly gid: number;
  readonly members: readonly string[];
}

const id = (text: string | undefined): number | undefined =>
  text !== undefined && /^\d{1,10}$/.test(text) && Number(text) <= LARGEST_ID ? Number(text) : undefined;

function parsePasswd(text: string): PasswdEntry[] {
  return text.split('\n').flatMap((line) => {
    const [name = '', , uid, gid, , home = ''] = line.trim().split(':');
    const [u, g] = [id(uid), id(gid)];
    return name === '' || u === undefined || g === undefined ? [] : [{ name, uid: u, gid: g, home }];
  });
}

function parseGroup(text: string): GroupEntry[] {
  return text.split('\n').flatMap((line) => {
    const [name = '', , gid, members = ''] = line.trim().split(':');
    const g = id(gid);
    return name === '' || g === undefined ? [] : [{ name, gid: g, members: members.split(',').filter((member) => member !== '') }];
  });
}

/** All digits is a number, whatever the container's files say: a stranger's passwd cannot turn it into something else. */
function number(text: string): number | undefined {
  if (!/^\d+$/.test(text)) return undefined;
  const value = id(text);
  if (value === undefined) throw invalid('uids and gids must be in range 0-2147483647');
  return value;
}

/**
 * Resolves `[user][:group]` and `--group-add` by the text of the container's passwd and group files.
 * Fails with Docker's words when a name is not in them.
 */
export function resolveUser(spec: string, groupAdd: readonly string[], passwdText: string, groupText: string): ResolvedUser {
  const separator = spec.indexOf(':');
  const userPart = separator < 0 ? spec : spec.slice(0, separator);
  const groupPart = separator < 0 ? '' : spec.slice(separator + 1);
  const passwd = parsePasswd(passwdText);
  const groups = parseGroup(groupText);

  const uid = userPart === '' ? 0 : number(userPart);
  const entry = passwd.find((candidate) => (uid === undefined ? candidate.name === userPart : candidate.uid === uid));
  if (uid === undefined && !entry) throw invalid(`unable to find user ${userPart}: no matching entries in passwd file`);

  let gid = entry?.gid ?? 0;
  let supplementary: number[] = [];
  if (groupPart !== '') {
    const asNumber = number(groupPart);
    const found = asNumber ?? groups.find((candidate) => candidate.name === groupPart)?.gid;
    if (found === undefined) throw invalid(`unable to find group ${groupPart}: no matching entries in group file`);
    gid = found;
  } else if (entry) {
    supplementary = groups.filter((candidate) => candidate.members.includes(entry.name)).map((candidate) => candidate.gid);
  }
  const added = groupAdd.map((group) => {
    const found = number(group) ?? groups.find((candidate) => candidate.name === group)?.gid;
    if (found === undefined) throw invalid(`Unable to find group ${group}`);
    return found;
  });
  return {
    uid: entry?.uid ?? uid ?? 0,
    gid,
    additionalGids: [...new Set([gid, ...supplementary, ...added])],
    home: entry && entry.home !== '' ? entry.home : '/',
  };
}

/** As {@link resolveUser}, with the files of the root that `rootFd` holds. */
export async function resolveUserIn(files: HostFiles, rootFd: number, spec: string, groupAdd: readonly string[]): Promise<ResolvedUser> {
  const [passwd, group] = await Promise.all([
    files.readFileIn(rootFd, '/etc/passwd', LIMITS.passwdBytes),
    files.readFileIn(rootFd, '/etc/group', LIMITS.passwdBytes),
  ]);
  return resolveUser(spec, groupAdd, passwd?.toString('utf8') ?? '', group?.toString('utf8') ?? '');
}
