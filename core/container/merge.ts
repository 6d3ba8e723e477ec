import type { ContainerConfig, Healthcheck, ProcessConfig } from './container.js';

/** The value's name in a list of `KEY=value`. */
const keyOf = (entry: string): string => entry.split('=', 1)[0] ?? '';

/**
 * What a container runs with: the request over the image's configuration. The rules for entrypoint and command are Docker's:
 * an entrypoint in the request drops the image's command; an empty one, or one that is a single empty string, means none.
 */
export function mergeConfig(request: ContainerConfig, image: ProcessConfig): ContainerConfig {
  const asked = new Set(request.env.map(keyOf));
  // `KEY` alone stays in the list: it takes the variable away when the environment is made.
  const env = [...request.env, ...image.env.filter((entry) => !asked.has(keyOf(entry)))];
  let { entrypoint, cmd } = request;
  if (entrypoint === undefined) {
    if (cmd === undefined || cmd.length === 0) cmd = image.cmd;
    entrypoint = image.entrypoint;
  } else if (entrypoint.length === 1 && entrypoint[0] === '') {
    entrypoint = [];
  }
  return {
    ...request,
    user: request.user === '' ? image.user : request.user,
    exposedPorts: [...new Set([...request.exposedPorts, ...image.exposedPorts])],
    env,
    entrypoint,
    cmd,
    volumes: [...new Set([...request.volumes, ...image.volumes])],
    workingDir: request.workingDir === '' ? image.workingDir : request.workingDir,
    labels: { ...image.labels, ...request.labels },
    stopSignal: request.stopSignal === '' ? image.stopSignal : request.stopSignal,
    healthcheck: mergeHealthcheck(request.healthcheck, image.healthcheck),
    shell: request.shell ?? image.shell,
    onBuild: request.onBuild,
  };
}

function mergeHealthcheck(request: Healthcheck | undefined, image: Healthcheck | undefined): Healthcheck | undefined {
  if (!request || !image) return request ?? image;
  return {
    test: request.test.length > 0 ? request.test : image.test,
    interval: request.interval || image.interval,
    timeout: request.timeout || image.timeout,
    startPeriod: request.startPeriod || image.startPeriod,
    startInterval: request.startInterval || image.startInterval,
    retries: request.retries || image.retries,
  };
}

/** The program and its arguments. */
export function commandOf(config: ContainerConfig): string[] {
  return [...(config.entrypoint ?? []), ...(config.cmd ?? [])];
}
