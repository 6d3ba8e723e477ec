import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { container as globalContainer, instanceCachingFactory } from 'tsyringe';
import { createServer, type ListenOn } from '@gantry/core/api/server.js';
import { ClusterService } from '@gantry/core/cluster/cluster-service.js';
import { ContainerService } from '@gantry/core/container/container-service.js';
import { ExecService } from '@gantry/core/container/exec-service.js';
import { ContainerRoom } from '@gantry/core/container/room.js';
import { ContentStore } from '@gantry/core/content/content-store.js';
import { invalid, isKind } from '@gantry/core/contracts/errors.js';
import type { Logger } from '@gantry/core/contracts/manifest.js';
import type { PluginStatus } from '@gantry/core/contracts/plugin.js';
import { DriverRegistry } from '@gantry/core/extension/driver-registry.js';
import { ImageService } from '@gantry/core/image/image-service.js';
import { LayerStore } from '@gantry/core/layer/layer-store.js';
import { NetworkService } from '@gantry/core/network/network-service.js';
import { ManagedPluginOrigin } from '@gantry/core/plugin/plugin-origin.js';
import { PluginService } from '@gantry/core/plugin/plugin-service.js';
import { Database } from '@gantry/core/state/database.js';
import { Journal } from '@gantry/core/state/journal.js';
import { StorageService } from '@gantry/core/storage/storage-service.js';
import { SystemCheck } from '@gantry/core/system/check.js';
import { Reserve } from '@gantry/core/state/reserve.js';
import { EventBus } from '@gantry/core/system/event-bus.js';
import type { Settings } from '@gantry/core/system/settings.js';
import { SystemService } from '@gantry/core/system/system-service.js';
import { Tokens } from '@gantry/core/tokens.js';
import { VolumeService } from '@gantry/core/volume/volume-service.js';
import { host } from '@gantry/native/index.js';
import { PluginHost } from '@gantry/plugins/host/plugin-host.js';
import { RemoteAuthorization } from '@gantry/plugins/remote/authorization.js';
import { MetricsCollectors } from '@gantry/plugins/remote/metrics.js';
import type { DaemonConfig } from './config.js';
import { builtIn, configuredRuntimes, driverOptions } from './driver-sources.js';
import type { Lifecycle } from './lifecycle.js';
import { openMetrics } from './metrics.js';
import { writePidFile } from './pid-file.js';
import { reconcile } from './reconcile.js';
import type { ReloadTarget } from './reload.js';

/** What a reload of the configuration needs of an engine that runs. */
export type RunningEngine = Pick<ReloadTarget, 'events' | 'engineId' | 'builtInRuntimes' | 'hasPlugin'>;

/**
 * Builds the engine: opens what is asynchronous, binds every token once, brings what a restart or a crash left into order, and
 * listens. The only place that knows which implementation stands behind an interface.
 */
export async function startEngine(config: DaemonConfig, lifecycle: Lifecycle, log: Logger): Promise<RunningEngine> {
  const { settings } = config;
  mkdirSync(settings.dataRoot, { recursive: true, mode: 0o710 });
  mkdirSync(settings.execRoot, { recursive: true, mode: 0o755 });

  // The database's lock is what keeps a second daemon off the same data root; the pid file is for people.
  const database = await lifecycle.start(
    'database',
    () => openDatabase(join(settings.dataRoot, 'gantry.db')),
    (db) => db.close(),
  );
  const reserve = new Reserve(join(settings.dataRoot, 'reserve'), log);
  database.useReserve(reserve);
  await lifecycle.start(
    'reserve',
    () => reserve.open(),
    () => reserve.close(),
  );
  await lifecycle.start(
    'pid file',
    () => writePidFile(config.pidFile),
    (remove) => remove(),
  );

  const events = new EventBus();
  const managed = new ManagedPluginOrigin();
  const plugins = new PluginHost({
    folders: settings.pluginFolders,
    origins: [managed],
    log,
    logCopy: async () => (await registry.get('log', 'json-file')).driver,
    changed: (status, error) => {
      tellOfPlugin(events, status, error);
      if (status.state === 'active' && status.kinds.includes('MetricsCollector')) collectors.add(status.name);
    },
  });
  const collectors = new MetricsCollectors(plugins, log);
  const cluster = await lifecycle.start(
    'cluster store',
    async () => settings.clusterStore && ClusterService.open(settings.clusterStore, join(settings.dataRoot, 'cluster'), host.net, log),
    async (service) => service?.close(),
  );

  const registry: DriverRegistry = await lifecycle.start(
    'drivers',
    () =>
      new DriverRegistry([configuredRuntimes(settings), builtIn, plugins], {
        dataRoot: settings.dataRoot,
        execRoot: settings.execRoot,
        instance: settings.instance,
        host,
        ...(cluster && { cluster }),
        log,
        optionsFor: driverOptions(settings),
      }),
    (drivers) => drivers.close(),
  );

  await checkDefaults(registry, settings);

  const container = globalContainer.createChildContainer();
  container.register(Tokens.Settings, { useValue: settings });
  container.register(Tokens.Log, { useValue: log });
  container.register(Tokens.Host, { useValue: host });
  container.register(Tokens.Database, { useValue: database });
  container.register(Tokens.Journal, { useValue: new Journal(database) });
  container.register(Tokens.Drivers, { useValue: registry });
  const single = instanceCachingFactory;
  container.register(Tokens.Events, { useValue: events });
  container.register(Tokens.Plugins, { useValue: plugins });
  container.register(Tokens.Content, { useFactory: single((c) => c.resolve(ContentStore)) });
  container.register(Tokens.Layers, { useFactory: single((c) => c.resolve(LayerStore)) });
  container.register(Tokens.Images, { useFactory: single((c) => c.resolve(ImageService)) });
  container.register(Tokens.Networks, { useFactory: single((c) => c.resolve(NetworkService)) });
  container.register(Tokens.Volumes, { useFactory: single((c) => c.resolve(VolumeService)) });
  container.register(Tokens.ContainerRoom, { useFactory: single((c) => c.resolve(ContainerRoom)) });
  container.register(Tokens.ManagedPlugins, { useFactory: single((c) => c.resolve(PluginService)) });
  container.register(Tokens.Containers, { useFactory: single((c) => c.resolve(ContainerService)) });
  container.register(Tokens.Execs, { useFactory: single((c) => c.resolve(ExecService)) });
  container.register(Tokens.Storage, { useFactory: single((c) => c.resolve(StorageService)) });
  container.register(Tokens.Check, { useFactory: single((c) => c.resolve(SystemCheck)) });
  container.register(Tokens.System, { useFactory: single((c) => c.resolve(SystemService)) });

  const content = container.resolve(Tokens.Content) as ContentStore;
  const layers = container.resolve(Tokens.Layers) as LayerStore;
  const images = container.resolve(Tokens.Images) as ImageService;
  const networks = container.resolve(Tokens.Networks) as NetworkService;
  const volumes = container.resolve(Tokens.Volumes) as VolumeService;
  const managedPlugins = container.resolve(Tokens.ManagedPlugins) as PluginService;
  const room = container.resolve(Tokens.ContainerRoom);
  const containers = container.resolve(Tokens.Containers) as ContainerService;

  await lifecycle.start('content', () => content.open());
  await lifecycle.start(
    'layers',
    () => layers.open(),
    () => layers.close(),
  );
  await lifecycle.start(
    'images',
    () => images.open(),
    () => images.close(),
  );
  const { metrics, times } = await openMetrics({
    system: container.resolve(Tokens.System),
    room,
    events,
    plugins,
    settings,
    lifecycle,
    log,
  });
  managedPlugins.useMetrics({
    serve: async (folder) => void (await metrics.listen({ folder })),
    leave: (folder) => metrics.leave(folder),
    began: (name) => collectors.add(name),
    ending: (name) => collectors.remove(name),
  });
  managed.use(managedPlugins);
  await lifecycle.start(
    'managed plugins',
    () => managedPlugins.open(),
    () => managedPlugins.close(),
  );
  await lifecycle.start(
    'metrics collectors',
    () => collectors,
    () => collectors.close(),
  );
  await lifecycle.start('volumes', () => volumes.open());
  if (cluster) {
    networks.useCluster(cluster);
    (container.resolve(Tokens.System) as SystemService).useCluster(cluster);
  }
  await lifecycle.start(
    'networks',
    () => networks,
    (service) => service.close(),
  );
  await lifecycle.start(
    'containers',
    () => room.open(),
    () => containers.close(),
  );
  images.useGuard((imageId) => containers.usersOf(imageId));
  const logging = (name: string): string[] =>
    room.store
      .list()
      .filter(({ id, hostConfig }) => hostConfig.logDriver === name && room.live.get(id))
      .map(({ name: talker }) => talker);
  managedPlugins.useUsers((plugin) =>
    [...new Set([plugin.name, plugin.name.replace(/:latest$/, '')])].flatMap((name) => [...volumes.ofDriver(name), ...logging(name)]),
  );
  plugins.useHolders((name) => [
    ...volumes.ofDriver(name).map((volume) => `volume ${volume}`),
    ...networks.ofDriver(name).map((network) => `network ${network}`),
    ...logging(name).map((talker) => `container ${talker}`),
  ]);
  volumes.useFreezer({
    running: (ids) => ids.filter((id) => room.store.byFullId(id)?.state.status === 'running'),
    freeze: (id) => containers.pause(id),
    thaw: async (id) => {
      if (room.store.byFullId(id)?.state.status === 'paused') await containers.unpause(id);
    },
  });
  await lifecycle.start('reconciler', () => reconcile({ containers, networks, log }));
  await lifecycle.start('frozen volumes', () => volumes.thawAll());

  const api = await lifecycle.start(
    'api',
    () =>
      createServer({
        services: {
          containers,
          execs: container.resolve(Tokens.Execs),
          images,
          networks,
          volumes,
          storage: container.resolve(Tokens.Storage),
          check: container.resolve(Tokens.Check),
          managedPlugins,
          plugins,
          system: container.resolve(Tokens.System),
          events: container.resolve(Tokens.Events),
        },
        log,
        authorization: accessChain(settings, plugins),
        times,
        whileFreeing: (work) => database.freeing(work),
        unsent: (fd) => host.net.unsent(fd),
        peerUid: (fd) => host.net.peerCredentials(fd).uid,
      }),
    (server) => server.close(),
  );
  for (const address of config.hosts) {
    const listening = await api.listen(listenOn(address, config, log));
    log.info('listening', { address: listening });
  }
  reserve.started();
  const { name, reason } = layers.defaultDriver;
  log.info('ready', { version: settings.version, storage: name, because: reason, containers: room.store.list().length });
  const system = container.resolve(Tokens.System);
  return {
    events: container.resolve(Tokens.Events),
    engineId: async () => (await system.info()).id,
    builtInRuntimes: builtIn.names('runtime'),
    hasPlugin: (plugin) => plugins.get(plugin) !== undefined,
  };
}

/** The access plugins that the configuration names now; a reload may change it. */
function accessChain(settings: Settings, plugins: PluginHost): () => readonly RemoteAuthorization[] {
  let names: readonly string[] | undefined;
  let chain: readonly RemoteAuthorization[] = [];
  return () => {
    if (names !== settings.authorizationPlugins) {
      names = settings.authorizationPlugins;
      chain = names.map((name) => new RemoteAuthorization(name, plugins));
    }
    return chain;
  };
}

/** Operators see in events which plugin is away and when it came back. */
function tellOfPlugin(events: EventBus, status: PluginStatus, error: string | undefined): void {
  if (status.state === 'found' || status.state === 'activating') return;
  events.publish({
    type: 'plugin',
    action: status.state,
    id: status.name,
    attributes: { name: status.name, kinds: status.kinds.join(','), ...(error === undefined ? {} : { error }) },
  });
}

/** What every container without a word of its own would fail for is told at the start. */
async function checkDefaults(registry: DriverRegistry, settings: Settings): Promise<void> {
  if (!registry.names('runtime').includes(settings.defaultRuntime))
    throw invalid(`specified default runtime '${settings.defaultRuntime}' does not exist`);
  const log = await registry.get('log', settings.logDriver).catch((error: unknown) => {
    if (isKind(error, 'not-found')) throw invalid(`logger: no log driver named '${settings.logDriver}' is registered`, error);
    throw error;
  });
  log.driver.validate(settings.logOptions);
}

function openDatabase(path: string): Database {
  try {
    return Database.open(path);
  } catch (error) {
    if (/locked|busy/.test((error as Error).message)) throw invalid(`another gantryd uses the data root of ${path}`, error);
    throw error;
  }
}

function listenOn(address: string, config: DaemonConfig, log: Logger): ListenOn {
  if (address.startsWith('unix://')) {
    const group = groupId(config.group);
    return { kind: 'unix', path: address.slice('unix://'.length), ...(group === undefined ? {} : { group }) };
  }
  if (address.startsWith('fd://')) return { kind: 'fd', fd: inheritedSocket(address.slice('fd://'.length)) };
  const { hostname, port } = new URL(address);
  const { tls } = config;
  if (!tls) log.warn('the API is on TCP without TLS: whoever reaches it is root on this host', { address });
  return {
    kind: 'tcp',
    host: hostname.replace(/^\[|\]$/g, '') || '0.0.0.0',
    port: Number(port) || (tls ? 2376 : 2375),
    ...(tls
      ? {
          tls: {
            cert: readFileSync(tls.certPath),
            key: readFileSync(tls.keyPath),
            ...(tls.verify ? { ca: readFileSync(tls.caPath) } : {}),
            verifyClients: tls.verify,
          },
        }
      : {}),
  };
}

/** systemd's socket activation: descriptors from 3 on are for the process that LISTEN_PID names. */
function inheritedSocket(word: string): number {
  const { LISTEN_PID, LISTEN_FDS } = process.env;
  const count = Number(LISTEN_FDS ?? 0);
  if (Number(LISTEN_PID) !== process.pid || count < 1)
    throw invalid('fd:// needs a socket from systemd (LISTEN_FDS), and none was handed over');
  const fd = word === '' || word === '*' ? 3 : Number(word);
  if (!Number.isInteger(fd) || fd < 3 || fd >= 3 + count) throw invalid(`no socket was handed over as descriptor ${word}`);
  return fd;
}

function groupId(name: string): number | undefined {
  if (name === '') return undefined;
  if (/^\d+$/.test(name)) return Number(name);
  const line = readFileSync('/etc/group', 'utf8')
    .split('\n')
    .find((entry) => entry.startsWith(`${name}:`));
  return line === undefined ? undefined : Number(line.split(':')[2]);
}
