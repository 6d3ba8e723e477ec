import { readdir, readFile } from 'node:fs/promises';
import type { PluginDirectory } from '../contracts/plugin.js';
import type { EventBus } from './event-bus.js';
import { Exposition, Histogram, type Labels } from './metrics.js';
import type { System } from './system.js';

/** Who is asked when somebody wants to see the metrics. All of it is in memory but `info`, which is asked once. */
export interface MetricSources {
  readonly system: System;
  /** Containers by state. */
  containers(): { readonly running: number; readonly paused: number; readonly stopped: number };
  /** Probes of health checks since the daemon's start. */
  probes(): { readonly made: number; readonly failed: number };
  readonly events: Pick<EventBus, 'published' | 'listeners'>;
  readonly plugins: PluginDirectory;
}

/** What the API measures, for the metrics. */
export interface ActionTimes {
  readonly containers: Histogram;
  readonly host: Histogram;
}

/** Labels of `engine_daemon_engine_info`, and two figures of the host. */
interface About {
  readonly labels: Labels;
  readonly cpus: number;
  readonly memory: number;
}

/** With dockerd's own names of actions. */
export const actionTimes = (): ActionTimes => ({
  containers: new Histogram('action', ['changes', 'commit', 'create', 'delete', 'start']),
  host: new Histogram('function', ['system_info']),
});

/** The engine in figures: dockerd's names with dockerd's meaning, those of any process, and what plugins were asked. */
export class EngineMetrics {
  private known: Promise<About> | undefined;

  constructor(
    private readonly sources: MetricSources,
    readonly times: ActionTimes,
  ) {}

  /** In Prometheus' text format. */
  async text(): Promise<string> {
    const { sources, times } = this;
    const { labels: about, cpus, memory } = await this.about();
    const states = sources.containers();
    const probes = sources.probes();
    const text = new Exposition()
      .histogram(
        'engine_daemon_container_actions_seconds',
        'The number of seconds it takes to process each container action',
        times.containers,
      )
      .values('engine_daemon_container_states_containers', 'gauge', 'The count of containers in various states', [
        [{ state: 'paused' }, states.paused],
        [{ state: 'running' }, states.running],
        [{ state: 'stopped' }, states.stopped],
      ])
      .value('engine_daemon_engine_cpus_cpus', 'gauge', 'The number of cpus that the host system of the engine has', cpus)
      .value('engine_daemon_engine_info', 'gauge', 'The information related to the engine and the OS it is running on', 1, about)
      .value('engine_daemon_engine_memory_bytes', 'gauge', 'The number of bytes of memory that the host system of the engine has', memory)
      .value('engine_daemon_events_subscribers_total', 'gauge', 'The number of current subscribers to events', sources.events.listeners)
      .value('engine_daemon_events_total', 'counter', 'The number of events logged', sources.events.published)
      .value('engine_daemon_health_checks_failed_total', 'counter', 'The total number of failed health checks', probes.failed)
      .value('engine_daemon_health_checks_total', 'counter', 'The total number of health checks', probes.made)
      .histogram(
        'engine_daemon_host_info_functions_seconds',
        'The number of seconds it takes to call functions gathering info about the host',
        times.host,
      );
    this.addPlugins(text);
    await addProcess(text);
    return text.toString();
  }

  /** What does not change while the daemon runs. A failure is not kept. */
  private about(): Promise<About> {
    this.known ??= this.ask().catch((error: unknown) => {
      this.known = undefined;
      throw error;
    });
    return this.known;
  }

  private async ask(): Promise<About> {
    const { system } = this.sources;
    const info = await system.info();
    return {
      labels: {
        architecture: info.arch,
        commit: system.version().gitCommit,
        daemon_id: info.id,
        graphdriver: info.storageDriver,
        kernel: info.kernelVersion,
        os: info.operatingSystem,
        os_type: 'linux',
        os_version: info.osVersion,
        version: info.serverVersion,
      },
      cpus: info.cpus,
      memory: info.memoryTotal,
    };
  }

  private addPlugins(text: Exposition): void {
    const plugins = this.sources.plugins.list();
    const calls = plugins.flatMap(({ name: plugin, calls: made }) => made.map((call) => [{ plugin, method: call.method }, call] as const));
    text
      .values(
        'engine_daemon_plugin_up',
        'gauge',
        'Whether the last call reached the plugin',
        plugins
          .filter(({ state }) => state === 'active' || state === 'unavailable')
          .map(({ name: plugin, state }) => [{ plugin }, Number(state === 'active')]),
      )
      .values(
        'engine_daemon_plugin_calls_total',
        'counter',
        'The number of calls to plugins',
        calls.map(([labels, { count }]) => [labels, count]),
      )
      .values(
        'engine_daemon_plugin_calls_failed_total',
        'counter',
        'The number of calls to plugins that failed or were refused',
        calls.map(([labels, { failures }]) => [labels, failures]),
      );
  }
}

/** What Prometheus' clients tell of any process. */
async function addProcess(text: Exposition): Promise<void> {
  const { userCPUTime, systemCPUTime } = process.resourceUsage();
  const [fds, limits, status] = await Promise.all([
    readdir('/proc/self/fd'),
    readFile('/proc/self/limits', 'utf8'),
    readFile('/proc/self/status', 'utf8'),
  ]);
  const kibibytes = Number(/^VmSize:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0);
  const limit = (name: string): number => {
    const word = new RegExp(`^${name} +(\\S+)`, 'm').exec(limits)?.[1] ?? 'unlimited';
    return word === 'unlimited' ? 2 ** 64 : Number(word);
  };
  text
    .value('process_cpu_seconds_total', 'counter', 'Total user and system CPU time spent in seconds.', (userCPUTime + systemCPUTime) / 1e6)
    .value('process_max_fds', 'gauge', 'Maximum number of open file descriptors.', limit('Max open files'))
    .value('process_open_fds', 'gauge', 'Number of open file descriptors.', fds.length)
    .value('process_resident_memory_bytes', 'gauge', 'Resident memory size in bytes.', process.memoryUsage.rss())
    .value('process_start_time_seconds', 'gauge', 'Start time of the process since unix epoch in seconds.', performance.timeOrigin / 1000)
    .value('process_virtual_memory_bytes', 'gauge', 'Virtual memory size in bytes.', kibibytes * 1024)
    .value('process_virtual_memory_max_bytes', 'gauge', 'Maximum amount of virtual memory available in bytes.', limit('Max address space'));
}
