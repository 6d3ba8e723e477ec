import { posix } from 'node:path';
import type { Healthcheck, ProcessConfig } from '../container/container.js';
import { invalid } from '../contracts/errors.js';
import { limits } from '../content/limits.js';
import { goDuration, jsonForm, keyValues, readInstruction, splitWords, unquote, type Instruction } from './dockerfile-words.js';

const DEFAULT_SHELL = ['/bin/sh', '-c'];
const KNOWN_ELSEWHERE = new Set(['ADD', 'ARG', 'COPY', 'FROM', 'MAINTAINER', 'RUN', 'SHELL']);

type Change = (config: ProcessConfig, instruction: Instruction, state: { cmdSet: boolean }) => ProcessConfig;

/** The words of CMD and ENTRYPOINT: the list of the JSON form, or the line given to the configuration's shell. */
const command = (config: ProcessConfig, rest: string): string[] => jsonForm(rest) ?? [...(config.shell ?? DEFAULT_SHELL), rest];

function withEnv(env: readonly string[], key: string, value: string): string[] {
  const at = env.findIndex((entry) => entry.slice(0, entry.indexOf('=')) === key);
  return at === -1 ? [...env, `${key}=${value}`] : env.with(at, `${key}=${value}`);
}

function port(text: string): string[] {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?(?:\/([A-Za-z]+))?$/.exec(text);
  const [, first = '', last = first, protocol = 'tcp'] = match ?? [];
  const from = Number(first);
  const to = Number(last);
  if (!match || from < 1 || to > 65_535 || to < from) throw invalid(`invalid containerPort: ${text}`);
  if (!/^(tcp|udp|sctp)$/i.test(protocol)) throw invalid(`invalid proto: ${protocol}`);
  return Array.from({ length: to - from + 1 }, (_, index) => `${from + index}/${protocol.toLowerCase()}`);
}

const union = (old: readonly string[], more: readonly string[]): string[] => [...new Set([...old, ...more])];

/** The list of the JSON form, or the words of the line. */
const listed = (rest: string): string[] => jsonForm(rest) ?? splitWords(rest).map(unquote);

function required(values: readonly string[], name: string): readonly string[] {
  if (values.length === 0) throw invalid(`${name} requires at least one argument`);
  return values;
}

function healthcheck(config: ProcessConfig, rest: string): Healthcheck {
  const flags = new Map<string, string>();
  let line = rest;
  for (;;) {
    const flag = /^--([a-z-]+)(?:=(\S*))?\s*/.exec(line);
    if (!flag) break;
    if (!/^(interval|timeout|start-period|start-interval|retries)$/.test(flag[1] ?? '')) throw invalid(`unknown flag: --${flag[1]}`);
    if (flags.has(flag[1] ?? '')) throw invalid(`Duplicate flag specified: ${flag[1]}`);
    flags.set(flag[1] ?? '', flag[2] ?? '');
    line = line.slice(flag[0].length);
  }
  const [, kind = '', argument = ''] = /^(\S*)\s*([\s\S]*)$/.exec(line) ?? [];
  if (kind === '') throw invalid('HEALTHCHECK requires at least one argument');
  if (kind.toUpperCase() === 'NONE') {
    if (argument !== '') throw invalid('HEALTHCHECK NONE takes no arguments');
    return { test: ['NONE'], interval: 0, timeout: 0, startPeriod: 0, startInterval: 0, retries: 0 };
  }
  if (kind.toUpperCase() !== 'CMD') throw invalid(`Unknown type ${JSON.stringify(kind)} in HEALTHCHECK (try CMD)`);
  const words = jsonForm(argument);
  if (argument === '' || words?.length === 0) throw invalid('Missing command after HEALTHCHECK CMD');
  const duration = (flag: string): number => {
    const text = flags.get(flag) ?? '';
    const value = text === '' ? 0 : goDuration(text);
    if (value !== 0 && value < 1e6) throw invalid(`Interval ${JSON.stringify(flag)} cannot be less than 1ms`);
    return value;
  };
  const retries = flags.get('retries') ?? '';
  if (retries !== '' && !/^\d{1,9}$/.test(retries)) throw invalid(`--retries cannot be negative (${retries})`);
  return {
    test: words ? ['CMD', ...words] : ['CMD-SHELL', argument],
    interval: duration('interval'),
    timeout: duration('timeout'),
    startPeriod: duration('start-period'),
    startInterval: duration('start-interval'),
    retries: Number(retries),
  };
}

const changes: Readonly<Record<string, Change>> = {
  CMD: (config, { rest }, state) => {
    state.cmdSet = true;
    return { ...config, cmd: rest === '' ? [] : command(config, rest) };
  },
  // A new entry point makes the old command's words meaningless, unless the same change gives new ones.
  ENTRYPOINT: (config, { rest }, state) => ({
    ...config,
    entrypoint: rest === '' ? undefined : command(config, rest),
    cmd: state.cmdSet ? config.cmd : undefined,
  }),
  ENV: (config, { rest }) => ({
    ...config,
    env: keyValues('ENV', rest).reduce((env, [key, value]) => withEnv(env, key, value), config.env.slice()),
  }),
  EXPOSE: (config, { rest }) => ({
    ...config,
    exposedPorts: union(
      config.exposedPorts,
      required(splitWords(rest), 'EXPOSE').flatMap((word) => port(unquote(word))),
    ),
  }),
  LABEL: (config, { rest }) => {
    const labels: Record<string, string> = Object.assign(Object.create(null) as Record<string, string>, config.labels);
    for (const [key, value] of keyValues('LABEL', rest)) labels[key] = value;
    return { ...config, labels };
  },
  ONBUILD: (config, { rest }) => {
    const inner = readInstruction(rest === '' ? '' : rest);
    if (inner.name === 'ONBUILD') throw invalid("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed");
    if (inner.name === 'MAINTAINER' || inner.name === 'FROM') throw invalid(`${inner.name} isn't allowed as an ONBUILD trigger`);
    return { ...config, onBuild: [...config.onBuild, rest] };
  },
  STOPSIGNAL: (config, { rest }) => {
    const signal = exactlyOne('STOPSIGNAL', rest);
    if (!/^(?:\d{1,2}|(?:SIG)?[A-Z0-9]+(?:[+-]\d{1,2})?)$/i.test(signal)) throw invalid(`Invalid signal: ${signal}`);
    return { ...config, stopSignal: signal };
  },
  USER: (config, { rest }) => ({ ...config, user: exactlyOne('USER', rest) }),
  VOLUME: (config, { rest }) => {
    const paths = required(listed(rest), 'VOLUME');
    if (paths.some((path) => path.trim() === '')) throw invalid('VOLUME specified can not be an empty string');
    return { ...config, volumes: union(config.volumes, paths) };
  },
  WORKDIR: (config, { rest }) => ({ ...config, workingDir: posix.resolve('/', config.workingDir, exactlyOne('WORKDIR', rest)) }),
  HEALTHCHECK: (config, { rest }) => ({ ...config, healthcheck: healthcheck(config, rest) }),
};

function exactlyOne(name: string, rest: string): string {
  const words = splitWords(rest);
  const word = words[0];
  if (word === undefined || words.length > 1) throw invalid(`${name} requires exactly one argument`);
  return unquote(word);
}

/** Applies Dockerfile instructions, in order, to a configuration. Those that need a build are refused by name. */
export function applyChanges<C extends ProcessConfig>(config: C, lines: readonly string[]): C {
  const state = { cmdSet: false };
  let result: ProcessConfig = config;
  for (const line of lines.flatMap((one) => one.split(/(?<!\\)\r?\n/))) {
    if (line.trim() === '' || line.trim().startsWith('#')) continue;
    if (line.length > limits.instruction) throw invalid(`an instruction has more than ${limits.instruction} characters`);
    const instruction = readInstruction(line);
    const change = Object.hasOwn(changes, instruction.name) ? changes[instruction.name] : undefined;
    if (!change) {
      if (KNOWN_ELSEWHERE.has(instruction.name)) throw invalid(`${instruction.name.toLowerCase()} is not a valid change command`);
      throw invalid(`dockerfile parse error line 1: unknown instruction: ${instruction.name}`);
    }
    result = change(result, instruction, state);
  }
  // Only members of ProcessConfig were replaced; what else the caller's type has came through the spreads.
  return result as C;
}
