import { existsSync, readdirSync, readFileSync } from 'node:fs';

/** The value of each key of an os-release(5) text, quotes and escapes taken off. */
export function parseOsRelease(text: string): Map<string, string> {
  const values = new Map<string, string>();
  for (const line of text.split('\n')) {
    const parts = /^\s*([A-Z][A-Z0-9_]*)=(.*)$/.exec(line);
    if (!parts) continue;
    const [, key = '', raw = ''] = parts;
    const quoted = /^(["'])(.*)\1\s*$/.exec(raw.trim());
    values.set(key, quoted?.[1] === "'" ? (quoted[2] ?? '') : (quoted?.[2] ?? raw.trim()).replace(/\\(.)/g, '$1'));
  }
  return values;
}

export function operatingSystem(): { name: string; version: string } {
  for (const path of ['/etc/os-release', '/usr/lib/os-release']) {
    try {
      const values = parseOsRelease(readFileSync(path, 'utf8'));
      return { name: values.get('PRETTY_NAME') || values.get('NAME') || 'Linux', version: values.get('VERSION_ID') ?? '' };
    } catch {
      // The second place is the distribution's own copy.
    }
  }
  return { name: 'Linux', version: '' };
}

/** Whether a file under /proc/sys says 1. */
export function isSwitchedOn(path: string): boolean {
  try {
    return readFileSync(path, 'utf8').trim() === '1';
  } catch {
    return false;
  }
}

export function openDescriptors(): number {
  try {
    return readdirSync('/proc/self/fd').length;
  } catch {
    return -1;
  }
}

/** Whether this kernel confines programs by profile, filters system calls, and keeps cgroup trees apart. */
export const kernelHas = {
  seccomp: (): boolean => {
    try {
      return /^Seccomp:/m.test(readFileSync('/proc/self/status', 'utf8'));
    } catch {
      return false;
    }
  },
  apparmor: (): boolean => {
    try {
      return readFileSync('/sys/module/apparmor/parameters/enabled', 'utf8').startsWith('Y');
    } catch {
      return false;
    }
  },
  cgroupNamespaces: (): boolean => existsSync('/proc/self/ns/cgroup'),
};

/** A proxy's address for display, without its password. */
export const withoutCredentials = (proxy: string): string => proxy.replace(/\/\/[^/@]*@/, '//xxxxx:xxxxx@');
