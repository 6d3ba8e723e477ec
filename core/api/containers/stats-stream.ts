import { setTimeout as sleep } from 'node:timers/promises';
import type { FastifyReply } from 'fastify';
import type { Containers } from '../../container/containers.js';
import { isKind } from '../../contracts/errors.js';
import type { ApiContext } from '../context.js';
import { ResponseStream } from '../response-stream.js';
import { statsJson, type Measurement } from './stats-json.js';

/** Between two samples of a stream, and before the one sample that has a predecessor. */
const INTERVAL = 1000;

async function measure(containers: Containers, id: string): Promise<Measurement> {
  return { sample: await containers.sample(id), at: Date.now() };
}

/** One object: with a sample of a second before, or without (`oneShot`). Zeroes at once for what does not run. */
export async function statsOnce(containers: Containers, name: string, oneShot: boolean, signal: AbortSignal): Promise<object> {
  const { container } = await containers.inspect(name);
  const first = await measure(containers, container.id);
  if (oneShot || !first.sample.usage) return statsJson(container, first, undefined);
  await sleep(INTERVAL, undefined, { signal });
  return statsJson(container, await measure(containers, container.id), first);
}

/** One object every second until the client leaves or the container is removed; a stopped container has zeroes. */
export async function statsStream(context: ApiContext, containers: Containers, name: string, reply: FastifyReply): Promise<void> {
  const { container } = await containers.inspect(name);
  let now = await measure(containers, container.id);
  let before: Measurement | undefined;
  const stream = await ResponseStream.open(context, reply, 'application/json');
  try {
    while (!stream.gone.aborted) {
      await stream.object(`${JSON.stringify(statsJson(container, now, before))}\n`);
      await sleep(INTERVAL, undefined, { signal: stream.gone });
      before = now;
      now = await measure(containers, container.id);
    }
  } catch (error) {
    if (!stream.gone.aborted && !isKind(error, 'not-found')) return stream.fail();
  }
  await stream.end();
}
