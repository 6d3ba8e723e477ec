import { invalid } from '../contracts/errors.js';

/** `--security-opt`, parsed. */
export interface SecurityOptions {
  readonly noNewPrivileges: boolean | undefined;
  /** '' for none given, `unconfined`, `builtin`, or a profile as JSON text. */
  readonly seccomp: string;
  /** '' for none given, `unconfined`, or a loaded profile's name. */
  readonly apparmor: string;
  /** SELinux: `disable`, or `user:…`, `role:…`, `type:…`, `level:…`. */
  readonly labels: readonly string[];
  readonly systemPathsUnconfined: boolean;
  readonly writableCgroups: boolean;
}

export function parseSecurityOptions(options: readonly string[]): SecurityOptions {
  const result = {
    noNewPrivileges: undefined as boolean | undefined,
    seccomp: '',
    apparmor: '',
    labels: [] as string[],
    systemPathsUnconfined: false,
    writableCgroups: false,
  };
  for (const option of options) {
    if (option === 'no-new-privileges') {
      result.noNewPrivileges = true;
      continue;
    }
    if (option === 'disable') {
      result.labels.push('disable');
      continue;
    }
    // `=` is today's separator, `:` the old one; a profile's JSON text holds both.
    const match = /^([a-z-]+)[=:]([^]*)$/.exec(option);
    const [key, value] = [match?.[1], match?.[2] ?? ''];
    switch (key) {
      case 'no-new-privileges':
        result.noNewPrivileges = boolean(option, value);
        break;
      case 'writable-cgroups':
        result.writableCgroups = boolean(option, value);
        break;
      case 'seccomp':
        result.seccomp = value;
        break;
      case 'apparmor':
        result.apparmor = value;
        break;
      case 'label':
        result.labels.push(value);
        break;
      case 'systempaths':
        if (value !== 'unconfined') throw invalid(`invalid --security-opt 2: "${option}"`);
        result.systemPathsUnconfined = true;
        break;
      default:
        throw invalid(`invalid --security-opt ${match ? 2 : 1}: "${option}"`);
    }
  }
  return result;
}

function boolean(option: string, value: string): boolean {
  if (value === 'true') return true;
  if (value === 'false') return false;
  throw invalid(`invalid --security-opt 2: "${option}"`);
}
