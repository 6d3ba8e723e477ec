import { NEWEST, versionText } from './version.js';

/** On every answer, errors and upgrades included: clients pick their version and platform by these. */
export function engineHeaders(version: string): Readonly<Record<string, string>> {
  return {
    'Api-Version': versionText(NEWEST),
    'Docker-Experimental': 'false',
    Ostype: 'linux',
    Server: `Docker/${version} (linux)`,
  };
}
