import { describe, expect, it } from 'vitest';
import { EventBus } from '@gantry/core/system/event-bus.js';
import { silentLog, testSettings } from '../../test/fakes/settings.js';
import type { DaemonConfig } from './config.js';
import { reload, type ReloadTarget } from './reload.js';

const config = (own: Parameters<typeof testSettings>[0], logLevel = 'info'): DaemonConfig => ({
  settings: testSettings(own),
  hosts: [],
  group: '',
  tls: undefined,
  pidFile: '',
  logLevel,
  logFormat: 'text',
  validate: false,
});

const never = new AbortController().signal;

describe('a configuration that is read anew', () => {
  const levels: string[] = [];
  const warnings: unknown[] = [];
  const target = (running: DaemonConfig): ReloadTarget & { events: EventBus } => ({
    config: running,
    events: new EventBus(),
    engineId: async () => 'engine',
    builtInRuntimes: ['native', 'runc'],
    hasPlugin: (name) => name === 'gate',
    log: { ...silentLog, setLevel: (level) => levels.push(level), warn: (_, fields) => warnings.push(fields) },
  });

  it('changes what may change in place, and tells of all values', async () => {
    const running = config({ labels: ['a=1'] });
    const { settings } = running;
    const engine = target(running);
    await reload(engine, config({ labels: ['a=2'], debug: true, registryMirrors: ['http://m'], mtu: 9000 }, 'debug'));
    expect(settings).toMatchObject({ labels: ['a=2'], debug: true, registryMirrors: ['http://m'], mtu: 1500 });
    expect(levels).toEqual(['debug']);
    expect(warnings).toEqual([{ settings: ['mtu'] }]);
    const events = engine.events.subscribe({ since: 0n, until: BigInt(Date.now() + 1) * 1_000_000n, filters: new Map(), signal: never });
    const { value: event } = await events[Symbol.asyncIterator]().next();
    expect(event).toMatchObject({ type: 'daemon', action: 'reload', id: 'engine', attributes: { labels: '["a=2"]', debug: 'true' } });
  });

  it('changes nothing when something in it is wrong', async () => {
    const running = config({ labels: ['a=1'] });
    await expect(reload(target(running), config({ labels: ['a=2'], defaultRuntime: 'nonsense' }))).rejects.toThrow(/nonsense/);
    expect(running.settings.labels).toEqual(['a=1']);
    await reload(target(running), config({ defaultRuntime: 'own', runtimes: { own: { path: '/x', args: [] } } }));
    expect(running.settings.defaultRuntime).toBe('own');
  });

  it('takes no access plugin that is not there, unless it was asked already', async () => {
    const running = config({ authorizationPlugins: ['away'] });
    await reload(target(running), config({ authorizationPlugins: ['away', 'gate'] }));
    expect(running.settings.authorizationPlugins).toEqual(['away', 'gate']);
    await expect(reload(target(running), config({ authorizationPlugins: ['gate', 'nobody'] }))).rejects.toThrow(
      'authorization plugin "nobody" not found',
    );
    expect(running.settings.authorizationPlugins).toEqual(['away', 'gate']);
  });
});
