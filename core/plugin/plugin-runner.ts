import { mkdir, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { EngineError, messageOf } from '../contracts/errors.js';
import type { Host } from '../contracts/host.js';
import type { LogContainer, LogEntry, ReadLogs } from '../contracts/log.js';
import type { Logger } from '../contracts/manifest.js';
import type { Exit, RuntimeDriver, Task } from '../contracts/runtime.js';
import { resolveDevices } from '../container/devices.js';
import { readHostFacts } from '../container/host-facts.js';
import type { DriverRegistry } from '../extension/driver-registry.js';
import { failpoint } from '../state/failpoint.js';
import { UndoStack } from '../state/undo.js';
import type { Settings } from '../system/settings.js';
import { SOCKET_FOLDER } from './plugin-config.js';
import type { PluginPaths } from './plugin-paths.js';
import { buildPluginSpec } from './plugin-spec.js';
import type { MetricsOffer, Plugin, PluginLife } from './plugins.js';

const SIGTERM = 15;
const SIGKILL = 9;
/** Milliseconds. How long one that is told to end may take, and how often a new one's socket is looked for. */
const STOP_GRACE = 10_000;
const POLL = 25;
/** How long a plugin may take to listen when nobody said. */
const PATIENCE = 12_000;
/** The pause before a plugin that ended by itself is started again; doubles up to the last and begins anew after a good while. */
const FIRST_PAUSE = 100;
const LAST_PAUSE = 60_000;
const GOOD_WHILE = 30_000;
/** Lines of its output in the error of a plugin that did not come up. */
const LAST_LINES = 5;
/** How its output is kept. */
const LOG_DRIVER = 'json-file';
const LOG_OPTIONS = { 'max-size': '1m', 'max-file': '2' };

interface Running {
  task: Task | undefined;
  life: PluginLife;
  /** Set when it shall end: what waits for its next start gives up. */
  readonly stop: AbortController;
  ended: Promise<void>;
}

/** The processes of plugins: started, watched, started again, ended. Each is a container of the engine's own runtime, and outlives the daemon. */
export class PluginRunner {
  private readonly running = new Map<string, Running>();
  private metrics: MetricsOffer | undefined;

  constructor(
    private readonly settings: Settings,
    private readonly paths: PluginPaths,
    private readonly host: Host,
    private readonly drivers: DriverRegistry,
    private readonly log: Logger,
  ) {}

  /** Before any plugin is started. */
  useMetrics(metrics: MetricsOffer): void {
    this.metrics = metrics;
  }

  life(id: string): PluginLife {
    return this.running.get(id)?.life ?? { state: 'stopped', pid: 0, restarts: 0, lastError: '' };
  }

  /** Starts a plugin and resolves when it listens. On failure nothing of it is left and the error tells what it said. */
  async start(plugin: Plugin, timeoutSeconds: number): Promise<void> {
    const task = await this.launch(plugin, timeoutSeconds > 0 ? timeoutSeconds * 1000 : PATIENCE);
    this.watch(plugin, task);
  }

  /** Meets one that outlived the last daemon, or starts it again in the background. */
  async resume(plugin: Plugin): Promise<void> {
    const { driver } = await this.runtime();
    const found = await driver.find({ id: plugin.id, bundle: this.paths.bundle(plugin.id), stateDir: this.paths.task(plugin.id) });
    if (found.state === 'running') {
      // The socket of the last daemon is dead; a new one in its place is seen in the plugin at once.
      this.watch(plugin, found.task);
      const metrics = await this.offerMetrics(plugin);
      if (metrics !== '') this.metrics?.began(plugin.name);
      return;
    }
    if (found.state === 'exited') await found.task.delete();
    this.watch(plugin, undefined);
  }

  /** Ends a plugin's process, by asking first; nothing of it is left. Repeatable. */
  async stop(plugin: Plugin): Promise<void> {
    if (collectsMetrics(plugin)) await this.metrics?.ending(plugin.name);
    const running = this.running.get(plugin.id);
    if (running) {
      running.stop.abort();
      if (running.task) await this.end(running.task);
      await running.ended;
      this.running.delete(plugin.id);
    } else {
      // A former daemon's, or one whose start was cut off.
      const { driver } = await this.runtime();
      const found = await driver.find({ id: plugin.id, bundle: this.paths.bundle(plugin.id), stateDir: this.paths.task(plugin.id) });
      if (found.state !== 'absent') await found.task.delete();
    }
    await this.release(plugin);
  }

  /** Nobody is watched any more; processes go on. */
  close(): void {
    for (const { stop } of this.running.values()) stop.abort();
    this.running.clear();
  }

  async logs(plugin: Plugin, request: Pick<ReadLogs, 'tail' | 'since' | 'until' | 'follow' | 'signal'>): Promise<AsyncIterable<LogEntry>> {
    const { driver } = await this.drivers.get('log', LOG_DRIVER);
    return driver.read(this.logContainer(plugin), LOG_OPTIONS, { stdout: true, stderr: true, ...request });
  }

  /** From a record to a process that listens. */
  private async launch(plugin: Plugin, patience: number): Promise<Task> {
    const { id } = plugin;
    const undo = new UndoStack(this.log);
    try {
      const { driver } = await this.runtime();
      // A socket of its last run would be taken for this one's.
      await this.metrics?.leave(this.paths.metrics(plugin));
      await this.host.files.removeTree(this.paths.run(id));
      for (const folder of [this.paths.bundle(id), this.paths.sockets(id)]) await mkdir(folder, { recursive: true, mode: 0o755 });
      await mkdir(this.paths.task(id), { recursive: true, mode: 0o700 });
      undo.push('remove what only a running plugin has', () => this.release(plugin));
      const propagated = await this.sharePropagated(plugin);
      const metrics = await this.offerMetrics(plugin);
      const spec = buildPluginSpec({
        plugin,
        rootfs: this.paths.rootfs(plugin),
        sockets: this.paths.sockets(id),
        propagated,
        metrics: metrics === propagated ? '' : metrics,
        devices: await this.devicesOf(plugin),
        cgroupParent: this.settings.cgroupParent,
        shmSize: this.settings.defaultShmSize,
        available: (await readHostFacts()).capabilities,
      });
      await writeFile(join(this.paths.bundle(id), 'config.json'), JSON.stringify(spec), { mode: 0o600 });
      const logs = await this.drivers.get('log', LOG_DRIVER);
      const began = BigInt(Date.now()) * 1_000_000n;
      failpoint('plugin.start.1');
      const task = await driver.create({
        id,
        bundle: this.paths.bundle(id),
        stateDir: this.paths.task(id),
        terminal: false,
        openStdin: false,
        stdinOnce: false,
        log: await logs.driver.target(this.logContainer(plugin), LOG_OPTIONS),
      });
      undo.push('delete the task', () => task.delete());
      await task.start();
      failpoint('plugin.start.2');
      await this.untilListening(plugin, task, patience, began);
      undo.dismiss();
      if (metrics !== '') this.metrics?.began(plugin.name);
      return task;
    } catch (error) {
      await undo.run();
      const kind = error instanceof EngineError ? error.kind : 'system';
      throw new EngineError(kind, `plugin ${plugin.name} did not start: ${messageOf(error)}`, { cause: error });
    }
  }

  private async untilListening(plugin: Plugin, task: Task, patience: number, began: bigint): Promise<void> {
    const socket = this.paths.socket(plugin);
    const expected = `${SOCKET_FOLDER}/${plugin.config.socket}`;
    let exit: Exit | undefined;
    void task.wait().then((end) => (exit = end));
    const until = performance.now() + patience;
    for (;;) {
      if (await listens(socket)) return;
      const late = performance.now() > until;
      if (exit === undefined && !late) {
        await sleep(POLL);
        continue;
      }
      const why = exit
        ? `its process ended with exit code ${exit.code}${exit.oomKilled ? ' (out of memory)' : ''} before it listened on ${expected}`
        : `its process runs, but it did not listen on ${expected} within ${Math.round(patience / 1000)} s`;
      throw new EngineError('system', why + (await this.lastLines(plugin, began)));
    }
  }

  /** What the plugin said last since this start, for an error. */
  private async lastLines(plugin: Plugin, since: bigint): Promise<string> {
    const lines: string[] = [];
    try {
      for await (const { line } of await this.logs(plugin, { tail: LAST_LINES, since, follow: false })) {
        lines.push(line.toString('utf8').trimEnd().slice(0, 500));
      }
    } catch (error) {
      return `; its output cannot be read: ${messageOf(error)}`;
    }
    return lines.length === 0 ? '; it wrote nothing' : `; it said last:\n${lines.join('\n')}`;
  }

  /** Keeps a plugin running until it is stopped. Without a task it is to be started first. */
  private watch(plugin: Plugin, task: Task | undefined): void {
    const life: PluginLife = { state: task ? 'running' : 'starting', pid: task?.pid ?? 0, restarts: 0, lastError: '' };
    const running: Running = { task, life, stop: new AbortController(), ended: Promise.resolve() };
    this.running.set(plugin.id, running);
    running.ended = this.keepUp(plugin, running).catch((error: unknown) => {
      this.log.error('watching a plugin failed', { plugin: plugin.name, error: messageOf(error) });
    });
  }

  private async keepUp(plugin: Plugin, running: Running): Promise<void> {
    const { signal } = running.stop;
    const left = new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
    let pause = FIRST_PAUSE;
    for (;;) {
      const { task } = running;
      if (task) {
        const began = performance.now();
        const exit = await Promise.race([task.wait(), left.then(() => undefined)]);
        // Ended on request: whoever asked waits for the process itself.
        if (!exit || signal.aborted) return;
        running.task = undefined;
        await task.delete();
        running.life = { ...running.life, state: 'failing', pid: 0, lastError: `ended by itself with exit code ${exit.code}` };
        this.log.warn('a plugin ended by itself and is started again', { plugin: plugin.name, exitCode: exit.code, after: pause });
        if (performance.now() - began > GOOD_WHILE) pause = FIRST_PAUSE;
        await Promise.race([sleep(pause, undefined, { signal }).catch(() => undefined), left]);
        pause = Math.min(pause * 2, LAST_PAUSE);
      }
      if (signal.aborted) return;
      try {
        const started = await this.launch(plugin, PATIENCE);
        running.task = started;
        running.life = { ...running.life, state: 'running', pid: started.pid, restarts: running.life.restarts + (task ? 1 : 0) };
        if (signal.aborted) {
          await this.end(started);
          return;
        }
      } catch (error) {
        running.life = { ...running.life, state: 'failing', pid: 0, lastError: messageOf(error) };
        this.log.warn('a plugin could not be started', { plugin: plugin.name, error: messageOf(error), again: pause });
        await Promise.race([sleep(pause, undefined, { signal }).catch(() => undefined), left]);
        pause = Math.min(pause * 2, LAST_PAUSE);
      }
    }
  }

  private async end(task: Task): Promise<void> {
    const gone = task.wait();
    const within = (ms: number): Promise<boolean> => Promise.race([gone.then(() => true), sleep(ms).then(() => false)]);
    await task.kill(SIGTERM).catch(() => undefined);
    if (!(await within(STOP_GRACE))) {
      await task.kill(SIGKILL).catch(() => undefined);
      if (!(await within(STOP_GRACE))) await task.killAll();
    }
    await task.delete();
  }

  /** The folder whose mounts the plugin and the host share: a mount of its own, or there would be nothing to share. */
  private async sharePropagated(plugin: Plugin): Promise<string> {
    if (plugin.config.propagatedMount === '') return '';
    const path = this.paths.propagated(plugin.id);
    await mkdir(path, { recursive: true, mode: 0o755 });
    if (!this.host.files.mountsBelow(path).some(({ target }) => target === path)) {
      await this.host.files.mount({ type: 'bind', source: path, options: ['rbind', 'rshared'] }, path);
    }
    return path;
  }

  /** The folder with the engine's metrics, served from now on; '' for a plugin that does not collect them. */
  private async offerMetrics(plugin: Plugin): Promise<string> {
    if (!this.metrics || !collectsMetrics(plugin)) return '';
    const folder = this.paths.metrics(plugin);
    // The folder of sockets is mounted into it, and nothing can be made there later.
    await mkdir(join(folder, basename(SOCKET_FOLDER)), { recursive: true, mode: 0o755 });
    await this.metrics.serve(folder);
    return folder;
  }

  private async release(plugin: Plugin): Promise<void> {
    const { files } = this.host;
    // What is open in a mount keeps it.
    await this.metrics?.leave(this.paths.metrics(plugin));
    for (const place of [this.paths.propagated(plugin.id), this.paths.run(plugin.id)]) {
      for (const { target } of files.mountsBelow(place)) {
        await files.unmount(target).catch(async (error: unknown) => {
          this.log.warn('a mount of a plugin is still in use, detaching it', { plugin: plugin.name, target, error: messageOf(error) });
          await files.unmount(target, true);
        });
      }
    }
    await files.removeTree(this.paths.run(plugin.id));
  }

  private async devicesOf(plugin: Plugin): Promise<Awaited<ReturnType<typeof resolveDevices>>> {
    const devices = plugin.settings.devices.map(({ name, path }) => {
      if (path === undefined) throw new EngineError('invalid-parameter', `device ${JSON.stringify(name)} has no path: set it first`);
      return { pathOnHost: path, pathInContainer: path, cgroupPermissions: 'rwm' };
    });
    return resolveDevices(this.host, { privileged: plugin.config.allowAllDevices, devices, deviceCgroupRules: [] });
  }

  private async runtime(): Promise<{ driver: RuntimeDriver }> {
    return this.drivers.get('runtime', this.settings.defaultRuntime);
  }

  private logContainer(plugin: Plugin): LogContainer {
    return {
      id: plugin.id,
      name: plugin.name,
      imageId: plugin.configDigest,
      imageName: plugin.name,
      labels: {},
      env: [],
      directory: this.paths.folder(plugin.id),
    };
  }
}

const collectsMetrics = ({ config }: Plugin): boolean =>
  config.types.some(({ prefix, capability }) => prefix === 'docker' && capability.toLowerCase() === 'metricscollector');

/** Whether somebody takes connections there now. */
function listens(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const answer = (yes: boolean) => (): void => {
      socket.destroy();
      resolve(yes);
    };
    socket.once('connect', answer(true));
    socket.once('error', answer(false));
  });
}
