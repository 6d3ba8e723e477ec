import { messageOf } from '../contracts/errors.js';
import { newId } from '../contracts/ids.js';
import type { Container, HealthLogEntry, HealthState } from './container.js';
import { startProcess } from './exec-process.js';
import { LIMITS } from './limits.js';
import type { LiveContainer } from './live.js';
import type { ContainerRoom } from './room.js';
import { SIGKILL } from './signals.js';
import { now } from './times.js';

const SECOND = 1000;
const NANOSECONDS_PER_MS = 1e6;
const DEFAULT_SHELL = ['/bin/sh', '-c'];

/** Probes one running container until `stop`. */
export class HealthMonitor {
  private timer: NodeJS.Timeout | undefined;
  private stopped = false;
  private readonly startedAt = performance.now();
  /** Whether the start period still excuses failures. */
  private starting = true;

  constructor(
    private readonly room: ContainerRoom,
    private readonly id: string,
    private readonly live: LiveContainer,
  ) {}

  start(): void {
    const container = this.room.store.byFullId(this.id);
    if (container) this.schedule(container);
  }

  stop(): void {
    this.stopped = true;
    clearTimeout(this.timer);
  }

  private schedule(container: Container): void {
    if (this.stopped) return;
    const check = container.config.healthcheck;
    const early = this.starting && performance.now() - this.startedAt < milliseconds(check?.startPeriod, 0);
    const delay = early ? milliseconds(check?.startInterval, 5 * SECOND) : milliseconds(check?.interval, 30 * SECOND);
    this.timer = setTimeout(() => void this.probe(), delay);
    this.timer.unref();
  }

  private async probe(): Promise<void> {
    const container = this.room.store.byFullId(this.id);
    if (this.stopped || !container || this.room.live.get(this.id) !== this.live) return;
    // A paused container answers nothing, and that says nothing of its health.
    if (container.state.status === 'running') {
      const entry = await runProbe(this.room, container, this.live).catch((error: unknown): HealthLogEntry => ({
        start: now(),
        end: now(),
        exitCode: -1,
        output: messageOf(error),
      }));
      if (this.stopped || this.room.live.get(this.id) !== this.live) return;
      this.record(container, entry);
    }
    this.schedule(container);
  }

  private record(container: Container, entry: HealthLogEntry): void {
    const check = container.config.healthcheck;
    const before = this.room.store.byFullId(this.id)?.state.health ?? { status: 'starting' as const, failingStreak: 0, log: [] };
    const healthy = entry.exitCode === 0;
    this.room.probes.made++;
    if (!healthy) this.room.probes.failed++;
    const inStartPeriod = performance.now() - this.startedAt < (check?.startPeriod ?? 0) / NANOSECONDS_PER_MS;
    if (healthy) this.starting = false;
    const excused = !healthy && before.status === 'starting' && inStartPeriod;
    const failingStreak = healthy ? 0 : excused ? before.failingStreak : before.failingStreak + 1;
    const retries = check && check.retries > 0 ? check.retries : 3;
    const status = healthy ? 'healthy' : failingStreak >= retries ? 'unhealthy' : before.status;
    const log = [...before.log, entry].slice(-LIMITS.healthLogEntries);
    const health: HealthState = { status, failingStreak, log };
    this.room.store.remember(this.id, ({ state }) => ({ state: { ...state, health } }));
    if (status !== before.status) this.room.publish(container, `health_status: ${status}`);
  }
}

async function runProbe(room: ContainerRoom, container: Container, live: LiveContainer): Promise<HealthLogEntry> {
  const check = container.config.healthcheck;
  const [kind, ...words] = check?.test ?? [];
  const args = kind === 'CMD-SHELL' ? [...(container.config.shell ?? DEFAULT_SHELL), words.join(' ')] : words;
  const timeoutMs = check && check.timeout > 0 ? check.timeout / NANOSECONDS_PER_MS : 30 * SECOND;
  const start = now();
  const id = newId();
  const command = args.join(' ');
  room.publish(container, `exec_create: ${command}`, { execID: id });
  room.publish(container, `exec_start: ${command}`, { execID: id });
  const process = await startProcess(room, container, live, {
    id,
    args,
    env: [],
    workingDir: '',
    user: '',
    privileged: false,
    terminal: false,
    consoleSize: undefined,
    attach: { stdin: false, stdout: true, stderr: true },
  });
  const chunks: Buffer[] = [];
  let [size, truncated] = [0, false];
  process.stream.onOutput((_, chunk) => {
    const left = LIMITS.healthOutputBytes - size;
    if (chunk.length > left) truncated = true;
    if (left > 0) chunks.push(Buffer.from(chunk.subarray(0, left)));
    size += Math.min(chunk.length, Math.max(left, 0));
  });
  const { promise: late, resolve: expire } = Promise.withResolvers<'late'>();
  const timer = setTimeout(() => expire('late'), timeoutMs);
  const exit = await Promise.race([process.wait(), late]);
  clearTimeout(timer);
  const output = (): string => Buffer.concat(chunks).toString('utf8') + (truncated ? '...' : '');
  if (exit === 'late') {
    await process.kill(SIGKILL).catch(() => undefined);
    process.stream.detach();
    room.publish(container, 'exec_die', { execID: id, exitCode: '137' });
    const partial = output();
    const text = `Health check exceeded timeout (${formatDuration(timeoutMs)})`;
    return { start, end: now(), exitCode: -1, output: partial === '' ? text : `${text}: ${partial}` };
  }
  // A process that the probe left behind may hold the output open for ever.
  await Promise.race([process.stream.ended, new Promise((resolve) => setTimeout(resolve, SECOND))]).catch(() => undefined);
  process.stream.detach();
  room.publish(container, 'exec_die', { execID: id, exitCode: String(exit.code) });
  return { start, end: now(), exitCode: exit.code, output: output() };
}

const milliseconds = (nanoseconds: number | undefined, fallback: number): number =>
  nanoseconds === undefined || nanoseconds === 0 ? fallback : nanoseconds / NANOSECONDS_PER_MS;

/** As Go prints a duration: `30s`, `1m30s`, `1.5s`. */
function formatDuration(ms: number): string {
  if (ms < SECOND) return `${ms}ms`;
  const minutes = Math.floor(ms / 60_000);
  const seconds = (ms % 60_000) / SECOND;
  return minutes > 0 ? `${minutes}m${seconds}s` : `${seconds}s`;
}
