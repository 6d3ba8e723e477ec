import { describe, expect, it } from 'vitest';
import { config, hostConfig } from '../../test/fakes/records.js';
import type { HostFacts } from './host-facts.js';
import { DetachScanner, parseDetachKeys } from './detach-keys.js';
import { parseUntil } from './list-filters.js';
import { commandOf, mergeConfig } from './merge.js';
import { parseBind, parseMount } from './mount-requests.js';
import { namePattern } from './name-pattern.js';
import { checkName, randomName } from './names.js';
import { parseSignal } from './signals.js';
import { readRuntimeError } from './start-errors.js';
import { parseTime, rfc3339 } from './times.js';
import { filterPs } from './top.js';
import { validateConfig, validateHostConfig } from './validate.js';

const facts = {
  cgroupVersion: 2,
  cpus: 2,
  cpusetCpus: '0-1',
  cpusetMems: '0',
  memoryLimit: true,
  swapLimit: true,
  pidsLimit: true,
} as HostFacts;

describe('the configuration of an image and a request', () => {
  const image = config({
    entrypoint: ['/entry'],
    cmd: ['default'],
    env: ['A=image', 'B=image'],
    exposedPorts: ['80/tcp'],
    labels: { a: '1', b: '1' },
  });
  const merged = (own: Parameters<typeof config>[0]) => mergeConfig(config(own), image);

  it('keeps the image command unless the request has one', () => {
    expect(commandOf(merged({}))).toEqual(['/entry', 'default']);
    expect(commandOf(merged({ cmd: ['mine'] }))).toEqual(['/entry', 'mine']);
  });

  it('drops the image command with its entrypoint', () => {
    expect(commandOf(merged({ entrypoint: ['/other'] }))).toEqual(['/other']);
    expect(commandOf(merged({ entrypoint: [''], cmd: ['sh'] }))).toEqual(['sh']);
    expect(commandOf(merged({ entrypoint: [], cmd: ['sh'] }))).toEqual(['sh']);
  });

  it('lets the request win and takes away what it names without a value', () => {
    const { env, labels, exposedPorts } = merged({ env: ['A=mine', 'B'], labels: { b: '2' }, exposedPorts: ['81/tcp'] });
    expect([env, labels, exposedPorts]).toEqual([['A=mine', 'B'], { a: '1', b: '2' }, ['81/tcp', '80/tcp']]);
  });
});

describe('a request', () => {
  const refuse = (host: Parameters<typeof hostConfig>[0], own: Parameters<typeof config>[0] = { hostname: '' }) => {
    try {
      validateHostConfig(config(own), hostConfig(host), facts);
    } catch (error) {
      return (error as Error).message;
    }
    return 'accepted';
  };

  it.each([
    [{ memory: 1024 }, 'Minimum memory limit allowed is 6MB'],
    [{ memory: 8 << 20, memorySwap: 7 << 20 }, 'Minimum memoryswap limit should be larger than memory limit, see usage'],
    [{ nanoCpus: 3e9 }, 'range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available'],
    [{ nanoCpus: 1e9, cpuQuota: 5000 }, 'Conflicting options: Nano CPUs and CPU Quota cannot both be set'],
    [{ cpusetCpus: '0-7' }, 'Requested CPUs are not available - requested 0-7, available: 0-1'],
    [{ cpusetCpus: 'x' }, 'Invalid value x for cpuset cpus'],
    [
      { autoRemove: true, restartPolicy: { name: 'always' as const, maximumRetryCount: 0 } },
      "can't create 'AutoRemove' container with restart policy",
    ],
    [
      { restartPolicy: { name: 'always' as const, maximumRetryCount: 3 } },
      "invalid restart policy: maximum retry count can only be used with 'on-failure'",
    ],
    [{ portBindings: { '80/foo': [] } }, 'invalid port specification: "80/foo"'],
    [{ portBindings: { '80/tcp': [{ hostIp: '', hostPort: '99999' }] } }, 'invalid port specification: "99999"'],
    [{ sysctls: { 'kernel.panic': '1' } }, "sysctl 'kernel.panic' is not whitelisted"],
    [{ networkMode: 'host', sysctls: { 'net.core.somaxconn': '1' } }, "sysctl 'net.core.somaxconn' not allowed in host network namespace"],
    [{ capAdd: ['SYS_NOTHING'] }, 'unknown capability: "CAP_SYS_NOTHING"'],
    [{ pidMode: 'bogus' }, 'invalid PID mode: bogus'],
    [{ networkMode: 'container:x', dns: ['1.1.1.1'] }, 'conflicting options: dns and the network mode'],
    [{ oomScoreAdj: 2000 }, 'Invalid value 2000, range for oom score adj is [-1000, 1000]'],
    [
      { deviceRequests: [{ driver: '', count: -1, deviceIds: [], capabilities: [['gpu']], options: {} }] },
      'could not select device driver "" with capabilities: [[gpu]]',
    ],
  ])('%j is refused: %s', (host, message) => expect(refuse(host)).toBe(message));

  it('is checked for its own form', () => {
    expect(() => validateConfig(config({ workingDir: 'rel' }))).toThrow(
      "the working directory 'rel' is invalid, it needs to be an absolute path",
    );
    expect(() => validateConfig(config({ env: ['=x'] }))).toThrow('invalid environment variable: =x');
    expect(() => validateConfig(config({ stopSignal: 'SIGNOPE' }))).toThrow('Invalid signal: SIGNOPE');
    const healthcheck = { test: ['CMD', 'x'], interval: 5, timeout: 0, startPeriod: 0, startInterval: 0, retries: 0 };
    expect(() => validateConfig(config({ healthcheck }))).toThrow('Interval in Healthcheck cannot be less than 1ms');
  });
});

describe('mount requests', () => {
  it('tell volumes from binds', () => {
    expect(parseBind('/a/../b:/x/:ro,rslave', '').point).toMatchObject({
      type: 'bind',
      source: '/b',
      destination: '/x',
      readWrite: false,
      propagation: 'rslave',
    });
    expect(parseBind('name:/x:nocopy', '').point).toMatchObject({ type: 'volume', name: 'name', driver: '', noCopy: true });
    expect(parseBind('/x', 'other').point).toMatchObject({ type: 'volume', anonymous: true, driver: 'other' });
  });

  it.each(['a:b', '/a:/b:/c', '/a:/', ':/x', '/a:/b:ro,rw', 'na/me:/x', '/a:/b:bogus', 'name:/x:rshared'])('%s is refused', (spec) => {
    expect(() => parseBind(spec, '')).toThrow();
  });

  it('of the long form are checked', () => {
    const mount = { type: 'bind' as const, source: '/s', target: '/t', readOnly: false };
    expect(() => parseMount({ ...mount, source: '' }, '')).toThrow('invalid mount config for type "bind": field Source must not be empty');
    expect(() => parseMount({ ...mount, target: 'rel' }, '')).toThrow("invalid mount path: 'rel' mount path must be absolute");
    expect(
      parseMount({ type: 'tmpfs', source: '', target: '/t', readOnly: false, tmpfs: { sizeBytes: 5, mode: 0o700, options: [] } }, '').point
        .tmpfsOptions,
    ).toBe('mode=700,size=5');
  });
});

describe('detach keys', () => {
  const feed = (scanner: DetachScanner, text: string): string => {
    const { forward, detached } = scanner.feed(Buffer.from(text, 'latin1'));
    return JSON.stringify(forward.toString('latin1')) + (detached ? ' detached' : '');
  };

  it('are found over chunks, and a lone first key is forwarded', () => {
    const scanner = new DetachScanner(parseDetachKeys(''));
    expect(feed(scanner, 'a\x10')).toBe('"a"');
    expect(feed(scanner, 'b')).toBe('"\\u0010b"');
    expect(feed(scanner, '\x10\x10')).toBe('"\\u0010"');
    expect(feed(scanner, '\x11z')).toBe('"" detached');
  });

  it('are parsed in the form of the command line', () => {
    expect([...parseDetachKeys('ctrl-a,x,ctrl-[')]).toEqual([1, 120, 27]);
    expect(() => parseDetachKeys('ctrl-!')).toThrow('Invalid detach keys (ctrl-!) provided');
  });
});

describe('small grammars', () => {
  it('names', () => {
    expect(checkName('/a.b-c_1')).toBe('a.b-c_1');
    expect(() => checkName('a')).toThrow('Invalid container name (a), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed');
    let calls = 0;
    expect(randomName(() => ++calls < 8)).toMatch(/^[a-z]+_[a-z]+\d+$/);
  });

  it('signals', () => {
    expect([parseSignal('SIGTERM'), parseSignal('hup'), parseSignal('9'), parseSignal('RTMIN+3')]).toEqual([15, 1, 9, 37]);
    expect(() => parseSignal('99')).toThrow('Invalid signal: 99');
  });

  it('name filters, and none that could run for ever', () => {
    expect(namePattern('db')('my-db-1')).toBe(true);
    expect(namePattern('^/?db$')('/db')).toBe(true);
    expect(() => namePattern('(a+)+$')).toThrow('too complex');
    expect(() => namePattern('[')).toThrow('no regular expression');
  });

  it('times', () => {
    expect(rfc3339(1_700_000_000_000_000_001n)).toBe('2023-11-14T22:13:20.000000001Z');
    expect(parseTime('2023-11-14T22:13:20.000000001Z')).toBe(1_700_000_000_000_000_001n);
    expect(parseUntil('1h30m', 10n ** 18n)).toBe(10n ** 18n - 5400n * 10n ** 9n);
    expect(parseUntil('1700000000.5', 0n)).toBe(1_700_000_000_500_000_000n);
  });

  it("the runtime's errors", () => {
    const code = (text: string): [number, string] => {
      const { exitCode, error } = readRuntimeError(new Error(text));
      return [exitCode, error.kind];
    };
    expect(code('exec: "x": executable file not found in $PATH')).toEqual([127, 'invalid-parameter']);
    expect(code('exec /x: permission denied')).toEqual([126, 'invalid-parameter']);
    expect(code('something else')).toEqual([128, 'system']);
  });

  it("ps' columns", () => {
    const output = 'UID   PID CMD\nroot    1 /sbin/init\nroot   42 sleep  10 20\n';
    expect(filterPs(output, new Set([42]))).toEqual({ titles: ['UID', 'PID', 'CMD'], processes: [['root', '42', 'sleep  10 20']] });
    expect(() => filterPs('A B\n', new Set())).toThrow("Couldn't find PID field");
  });
});
