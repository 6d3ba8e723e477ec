import { accessChecks } from './access.js';
import { ipamChecks } from './ipam.js';
import { logChecks } from './log.js';
import { metricsChecks } from './metrics.js';
import { networkChecks } from './network.js';
import { storageChecks } from './storage.js';
import { type Check, type CheckResult, runChecks, Subject } from './suite.js';
import { volumeChecks } from './volume.js';

export { junit, plain, tap } from './report.js';
export type { Check, CheckResult } from './suite.js';

const suites: Readonly<Record<string, readonly Check[]>> = {
  VolumeDriver: volumeChecks,
  NetworkDriver: networkChecks,
  IpamDriver: ipamChecks,
  GraphDriver: storageChecks,
  LogDriver: logChecks,
  authz: accessChecks,
  MetricsCollector: metricsChecks,
};

export interface CheckOptions {
  readonly socket: string;
  /** A folder for what the checks need on disk; both sides must see it. */
  readonly folder: string;
  /** Ends the plugin without warning and starts it again; without it the checks that need it are skipped. */
  readonly restart?: () => Promise<void>;
}

const greeting: Check = {
  name: 'says what it implements',
  async run(subject) {
    const { Implements } = await subject.ok('Plugin.Activate');
    const kinds = (Implements ?? []) as string[];
    subject.must(kinds.length > 0, 'Plugin.Activate names at least one kind');
    subject.must(
      kinds.every((kind) => Object.hasOwn(suites, kind) || kind === 'secretprovider'),
      `Plugin.Activate names kinds of the protocol (${Object.keys(suites).join(', ')})`,
    );
  },
};

/** Plays an engine to the plugin: every promise of each kind that it says it implements. No engine is needed. */
export async function checkPlugin({ socket, folder, restart }: CheckOptions): Promise<CheckResult[]> {
  const subject = new Subject(socket, folder, restart);
  const results = await runChecks('Plugin', [greeting], subject);
  if (results.some(({ outcome }) => outcome === 'broken')) return results;
  const { Implements } = await subject.ok('Plugin.Activate');
  for (const kind of Implements as string[]) {
    const checks = suites[kind];
    if (checks) results.push(...(await runChecks(kind, checks, subject)));
  }
  return results;
}
