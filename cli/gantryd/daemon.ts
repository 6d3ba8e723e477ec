import 'reflect-metadata';
import { messageOf } from '@gantry/core/contracts/errors.js';
import { host } from '@gantry/native/index.js';
import { version } from '../version.js';
import { type DaemonConfig, loadConfig } from './config.js';
import { type RunningEngine, startEngine } from './compose.js';
import { Lifecycle } from './lifecycle.js';
import { openLog } from './log.js';
import { usage } from './options.js';
import { reload } from './reload.js';
import { serveDriver } from './serve-driver.js';
import { ServiceManager } from './service-manager.js';

function fail(message: string): never {
  process.stderr.write(`gantryd: ${message}\n`);
  process.exit(1);
}

function readConfig(): DaemonConfig {
  try {
    const config = loadConfig(process.argv.slice(2));
    if (config === 'help') {
      process.stdout.write(usage());
      process.exit(0);
    }
    if (config === 'version') {
      process.stdout.write(`Gantry version ${version}\n`);
      process.exit(0);
    }
    return config;
  } catch (error) {
    return fail(messageOf(error));
  }
}

if (process.argv[2] === 'serve-driver') {
  process.umask(0o077);
  try {
    await serveDriver(process.argv.slice(3));
  } catch (error) {
    fail(messageOf(error));
  }
  // Until a signal ends it; what comes below is the daemon.
  await new Promise(() => undefined);
}

const config = readConfig();
if (config.validate) {
  process.stdout.write('configuration OK\n');
  process.exit(0);
}
if (process.getuid?.() !== 0) fail('the engine needs root: it mounts, makes namespaces and writes cgroups');
process.umask(0o077);

const log = await openLog(config.logLevel, config.logFormat);
const lifecycle = new Lifecycle(log);
const manager = new ServiceManager(host.process, log);

// The records and the shims are made so that a death at any point is safe; going on with a broken invariant is not.
process.on('uncaughtException', (error) => {
  log.error('uncaught exception', { error: error.stack ?? error.message });
  process.exit(70);
});
process.on('unhandledRejection', (error) =>
  log.error('a promise was rejected and nobody took it', {
    error: error instanceof Error ? (error.stack ?? error.message) : String(error),
  }),
);

/** Nothing changes when anything in the new configuration is wrong. */
async function readAnew(): Promise<void> {
  if (!engine) return log.warn('the configuration is not read anew before the engine is ready');
  manager.reloading();
  try {
    const wanted = loadConfig(process.argv.slice(2));
    if (typeof wanted !== 'string') await reload({ config, log, ...engine }, wanted);
  } catch (error) {
    log.error('the configuration stays as it was', { error: messageOf(error) });
  }
  if (!stopping) manager.ready();
}

let engine: RunningEngine | undefined;
let stopping = false;
async function stop(signal: string): Promise<void> {
  if (stopping) {
    log.warn('a second signal: leaving at once', { signal });
    process.exit(1);
  }
  stopping = true;
  manager.stopping();
  log.info('stopping; containers go on', { signal });
  const tooLong = setTimeout(() => {
    log.error('stopping took too long', { seconds: config.settings.shutdownTimeout });
    process.exit(1);
  }, config.settings.shutdownTimeout * 1000);
  await lifecycle.stop();
  clearTimeout(tooLong);
  process.exit(0);
}
process.on('SIGTERM', () => void stop('SIGTERM'));
process.on('SIGINT', () => void stop('SIGINT'));
process.on('SIGHUP', () => void readAnew());
process.on('SIGPIPE', () => {});

try {
  engine = await startEngine(config, lifecycle, log);
  if (!stopping) manager.ready();
} catch (error) {
  log.debug('the start failed', { error: error instanceof Error ? (error.stack ?? '') : '' });
  await lifecycle.stop();
  fail(messageOf(error));
}
