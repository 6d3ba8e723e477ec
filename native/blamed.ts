import { EngineError, invalid, messageOf } from '@gantry/core/contracts/errors.js';

/** What the addon blames on the input has a code of its own, which no system call gives; here it gets its kind. */
export async function blamed<T>(pending: Promise<T>): Promise<T> {
  try {
    return await pending;
  } catch (error) {
    if (error instanceof EngineError) throw error;
    if ((error as { code?: unknown }).code === 'EINVALID') throw invalid(messageOf(error), error);
    throw error;
  }
}
