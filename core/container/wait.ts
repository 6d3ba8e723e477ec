import { EngineError } from '../contracts/errors.js';
import type { Container } from './container.js';
import type { WaitCondition, WaitResult } from './containers.js';
import { isRunning } from './list-filters.js';
import type { ContainerRoom } from './room.js';

/** Armed when it returns: what happens from then on is not missed, however short the container's life. */
export function waitFor(room: ContainerRoom, { id, state }: Container, condition: WaitCondition, signal: AbortSignal): Promise<WaitResult> {
  if (condition === 'not-running' && !isRunning(state.status)) {
    return Promise.resolve({ exitCode: state.exitCode, error: undefined });
  }
  const { promise, resolve, reject } = Promise.withResolvers<WaitResult>();
  let cancel: () => void;
  const arm = (): void => {
    cancel = condition === 'removed' ? room.live.onRemoval(id, settle) : room.live.onExit(id, settle);
  };
  const settle = (result: WaitResult): void => {
    // An exit that is followed by a restart is none for those who wait for the end.
    if (condition === 'not-running' && isRunning(room.store.byFullId(id)?.state.status ?? 'exited')) {
      arm();
      return;
    }
    signal.removeEventListener('abort', abort);
    resolve(result);
  };
  const abort = (): void => {
    cancel();
    reject(new EngineError('cancelled', 'the client went away'));
  };
  arm();
  signal.addEventListener('abort', abort, { once: true });
  if (signal.aborted) abort();
  // Whoever asked may be gone before it looks at the result.
  promise.catch(() => undefined);
  return promise;
}
