import { describe as describeMethod, isMethod, optionalMethods } from '../protocol/methods.js';
import { canonical, whyInvalid } from '../protocol/validate.js';
import { abandon, type Exchange, exchange as send } from './wire.js';

/** What a plugin did not keep, with what was asked and what it said. */
export class BrokenPromise extends Error {
  constructor(
    readonly promise: string,
    readonly exchange: Exchange | undefined,
  ) {
    super(promise);
  }
}

/** Thrown by a check that cannot be made. */
export class Skipped extends Error {}

/** A plugin under test. */
export class Subject {
  constructor(
    readonly socket: string,
    /** A folder that both sides can see. */
    readonly folder: string,
    /** Ends the plugin at once and starts it again; absent when the suite did not start it. */
    private readonly restarter: (() => Promise<void>) | undefined,
  ) {}

  private last: Exchange | undefined;
  private names = 0;

  /** A name that no other check uses. */
  fresh(prefix = 'check'): string {
    return `${prefix}-${process.pid}-${++this.names}`;
  }

  id(): string {
    return `${process.pid.toString(16)}${(++this.names).toString(16)}`.padEnd(64, 'c');
  }

  /** Any answer at all, checked against the protocol when it says that it succeeded. */
  async ask(method: string, body?: unknown, query = ''): Promise<Exchange> {
    const result = await send(this.socket, method, body, query);
    this.last = result;
    if (result.status === 0) throw this.broken(`${method} is answered`);
    if (result.status === 200 && isMethod(method)) {
      const { response } = describeMethod(method);
      const wrong = response === 'stream' ? undefined : whyInvalid(canonical(result.answer, response), response);
      if (wrong !== undefined) throw this.broken(`the answer of ${method} fits the protocol (${wrong})`);
    }
    return result;
  }

  /** An answer that is no failure. */
  async ok(method: string, body?: unknown, promise = `${method} succeeds`, query = ''): Promise<Readonly<Record<string, unknown>>> {
    const result = await this.ask(method, body, query);
    if (failureIn(result) !== undefined) throw this.broken(promise);
    return result.answer;
  }

  /** An answer that is a failure with a text. */
  async refused(method: string, body: unknown, promise: string): Promise<string> {
    const failure = failureIn(await this.ask(method, body));
    if (failure === undefined) throw this.broken(promise);
    if (failure.trim() === '') throw this.broken(`a failure of ${method} says what is wrong`);
    return failure;
  }

  /** The caller goes away before the answer. */
  async abandon(method: string, body: unknown): Promise<void> {
    await abandon(this.socket, method, body);
  }

  /** The plugin is killed while it works on a call, and started again. Whether the call was answered says nothing. */
  async interrupt(method: string, body: unknown): Promise<void> {
    const restarter = this.needRestarter();
    const asked = send(this.socket, method, body);
    await restarter();
    await asked;
  }

  async restart(): Promise<void> {
    await this.needRestarter()();
  }

  private needRestarter(): () => Promise<void> {
    if (!this.restarter) throw new Skipped('the plugin was not started by this suite (give --run COMMAND)');
    return this.restarter;
  }

  /** Holds, or the last exchange is shown. */
  must(fine: boolean, promise: string): void {
    if (!fine) throw this.broken(promise);
  }

  private broken(promise: string): BrokenPromise {
    return new BrokenPromise(promise, this.last);
  }
}

/** The text of a failure; `undefined` when the answer is none. */
function failureIn({ status, answer, text, method }: Exchange): string | undefined {
  const said = answer['Err'] || answer['Error'];
  if (status === 200) return typeof said === 'string' && said !== '' ? said : undefined;
  if (status === 404 && isMethod(method) && optionalMethods.has(method)) return undefined;
  return typeof said === 'string' && said !== '' ? said : text;
}

export interface Check {
  /** The promise, as a sentence about the plugin. */
  readonly name: string;
  run(subject: Subject): Promise<void>;
}

export interface CheckResult {
  readonly kind: string;
  readonly name: string;
  readonly ms: number;
  readonly outcome: 'kept' | 'broken' | 'skipped';
  /** Why it was skipped, or which promise exactly was broken. */
  readonly message?: string;
  readonly exchange?: Exchange;
}

/** Makes one check after the other: what one leaves is no business of the next, which has names of its own. */
export async function runChecks(kind: string, checks: readonly Check[], subject: Subject): Promise<CheckResult[]> {
  const results: CheckResult[] = [];
  for (const { name, run } of checks) {
    const began = performance.now();
    const result = await run(subject).then(
      () => ({ outcome: 'kept' as const }),
      (error: unknown) => outcomeOf(error),
    );
    results.push({ kind, name, ms: Math.round(performance.now() - began), ...result });
  }
  return results;
}

function outcomeOf(error: unknown): Pick<CheckResult, 'outcome' | 'message' | 'exchange'> {
  if (error instanceof Skipped) return { outcome: 'skipped', message: error.message };
  if (error instanceof BrokenPromise)
    return { outcome: 'broken', message: error.promise, ...(error.exchange && { exchange: error.exchange }) };
  return { outcome: 'broken', message: error instanceof Error ? error.message : String(error) };
}
