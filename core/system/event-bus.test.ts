import { describe, expect, it } from 'vitest';
import { EventBus } from './event-bus.js';
import type { EngineEvent, EventFilters } from './system.js';

const event = (action: string, extra: Partial<EngineEvent> = {}): Omit<EngineEvent, 'time'> => ({
  type: 'container',
  action,
  id: 'c'.repeat(64),
  attributes: {},
  ...extra,
});

const none: EventFilters = new Map();

async function take(source: AsyncIterable<EngineEvent>, count: number): Promise<string[]> {
  const actions: string[] = [];
  for await (const one of source) {
    actions.push(one.action);
    if (actions.length === count) break;
  }
  return actions;
}

describe('the event bus', () => {
  it('gives the past from `since` on and then what happens, without a gap or a repetition', async () => {
    const bus = new EventBus();
    bus.publish(event('create'));
    bus.publish(event('start'));
    const stream = bus.subscribe({ since: 0n, filters: none, signal: new AbortController().signal });
    bus.publish(event('die'));
    expect(await take(stream, 3)).toEqual(['create', 'start', 'die']);
    expect(bus.listeners).toBe(0);
  });

  it('is armed before anything is read from it', async () => {
    const bus = new EventBus();
    const stream = bus.subscribe({ filters: none, signal: new AbortController().signal });
    bus.publish(event('start'));
    expect(await take(stream, 1)).toEqual(['start']);
  });

  it('remembers the last 256 events', async () => {
    const bus = new EventBus();
    for (let index = 0; index < 300; index++) bus.publish(event(`e${index}`));
    const actions = await take(bus.subscribe({ since: 0n, until: 2n ** 63n, filters: none, signal: new AbortController().signal }), 256);
    expect(actions[0]).toBe('e44');
    expect(actions.at(-1)).toBe('e299');
  });

  it('ends at `until`, at once when that is past', async () => {
    const bus = new EventBus();
    bus.publish(event('create'));
    const now = BigInt(Date.now()) * 1_000_000n;
    expect(await take(bus.subscribe({ since: 0n, until: now + 10n, filters: none, signal: new AbortController().signal }), 9)).toEqual([
      'create',
    ]);
    expect(
      await take(bus.subscribe({ since: 0n, until: now + 40_000_000n, filters: none, signal: new AbortController().signal }), 9),
    ).toEqual(['create']);
    expect(bus.listeners).toBe(0);
  });

  it('ends when the reader goes away', async () => {
    const bus = new EventBus();
    const gone = new AbortController();
    const reading = take(bus.subscribe({ filters: none, signal: gone.signal }), 1);
    gone.abort();
    expect(await reading).toEqual([]);
    expect(bus.listeners).toBe(0);
  });

  it('lets a reader that is too slow lose its stream instead of growing without bound', async () => {
    const bus = new EventBus();
    const stream = bus.subscribe({ filters: none, signal: new AbortController().signal });
    for (let index = 0; index < 5_000; index++) bus.publish(event('start'));
    expect(bus.listeners).toBe(0);
    await expect(take(stream, 5_000)).rejects.toThrow('too slow');
  });

  it.each<[string, [string, string[]][], string[]]>([
    ['a type', [['type', ['image']]], ['pull']],
    ['one of two actions', [['event', ['start', 'pull']]], ['start', 'pull']],
    ['an action without its detail', [['event', ['exec_start']]], ['exec_start: sh']],
    ['a container name, with or without slash', [['container', ['/db']]], ['start', 'exec_start: sh', 'connect']],
    ['not a part of a name', [['container', ['d']]], []],
    ['an id prefix', [['container', ['cccccc']]], ['start', 'exec_start: sh']],
    ['an image without its tag', [['image', ['busybox']]], ['start', 'pull']],
    ['labels, all of them', [['label', ['a=1', 'b']]], ['start']],
    ['another scope', [['scope', ['swarm']]], []],
    [
      'two keys at once',
      [
        ['type', ['container']],
        ['event', ['pull', 'start']],
      ],
      ['start'],
    ],
  ])('filters by %s', async (_, filters, expected) => {
    const bus = new EventBus();
    bus.publish(event('start', { attributes: { name: 'db', image: 'busybox:latest', a: '1', b: '2' } }));
    bus.publish(event('exec_start: sh', { attributes: { name: 'db', image: 'alpine' } }));
    bus.publish(event('pull', { type: 'image', id: 'busybox:latest', attributes: { name: 'busybox' } }));
    bus.publish(event('connect', { type: 'network', id: 'n'.repeat(64), attributes: { name: 'bridge', container: 'db' } }));
    const stream = bus.subscribe({ since: 0n, until: 1n, filters: new Map(filters), signal: new AbortController().signal });
    expect(await take(stream, 9)).toEqual([]);
    const all = bus.subscribe({
      since: 0n,
      until: BigInt(Date.now() + 5) * 1_000_000n,
      filters: new Map(filters),
      signal: new AbortController().signal,
    });
    expect(await take(all, 9)).toEqual(expected);
  });

  it('refuses a filter that it does not know', () => {
    expect(() => new EventBus().subscribe({ filters: new Map([['colour', ['red']]]), signal: new AbortController().signal })).toThrow(
      "invalid filter 'colour'",
    );
  });
});
