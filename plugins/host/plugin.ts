import { statSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { EngineError, messageOf } from '@gantry/core/contracts/errors.js';
import type { Logger } from '@gantry/core/contracts/manifest.js';
import type { PluginCallRecord, PluginKind, PluginPlace, PluginStatus } from '@gantry/core/contracts/plugin.js';
import type { JsonMethod, Method, RequestOf, ResponseOf } from '../sdk/protocol/methods.js';
import { CallLog } from './call-log.js';
import { type CallOptions, PluginClient, Unreached } from './client.js';
import { limits } from './limits.js';

export interface PluginObserver {
  /** The state changed; never called for a state that stays. */
  changed(plugin: Plugin, state: PluginStatus['state'], error: string | undefined): void;
  readonly log: Logger;
  holders(name: string): readonly string[];
}

/**
 * One plugin: what it implements, whether it can be reached, and every call to it. It is greeted when it is first needed, and again
 * after it was started anew, which shows in its socket. One that hangs is left alone for a while, so that those who need it fail
 * at once and those who do not never wait.
 */
export class Plugin {
  readonly calls: CallLog;
  private client: PluginClient;
  private activation: Promise<readonly string[]> | undefined;
  private kindsKnown: readonly string[];
  private state: PluginStatus['state'] = 'found';
  private lastError: PluginStatus['lastError'];
  /** Which life of the plugin the activation belongs to. */
  private life = '';
  private rest = 0;
  private restUntil = 0;

  constructor(
    public place: PluginPlace,
    private readonly observer: PluginObserver,
  ) {
    this.calls = new CallLog(place.name);
    this.client = new PluginClient(place, this.calls);
    this.kindsKnown = place.kinds ?? [];
  }

  get name(): string {
    return this.place.name;
  }

  /** Takes another address in place of the one that was known; counters stay. */
  moveTo(place: PluginPlace): void {
    if (place.address === this.place.address && place.kinds === this.place.kinds) return;
    this.client = new PluginClient(place, this.calls);
    this.place = place;
    this.forget();
  }

  status(): PluginStatus {
    const { name, address, source } = this.place;
    return {
      name,
      address,
      source,
      kinds: this.kindsKnown,
      state: this.state,
      ...(this.lastError === undefined ? {} : { lastError: this.lastError }),
      calls: this.calls.summary(),
      holders: this.observer.holders(name),
    };
  }

  trace(listener: (record: PluginCallRecord) => void): () => void {
    return this.calls.listen(listener);
  }

  /** What it implemented when it was last greeted; empty before. */
  get kinds(): readonly string[] {
    return this.kindsKnown;
  }

  /** Greets it unless that was done in this life of it. Callers that come meanwhile share the greeting. */
  async activate(): Promise<readonly string[]> {
    const life = this.currentLife();
    if (this.activation && life === this.life) return this.activation;
    this.refuseWhileResting();
    this.life = life;
    if (this.state !== 'active') this.enter('activating');
    const activation = this.greet();
    this.activation = activation;
    activation.catch(() => {
      if (this.activation === activation) this.activation = undefined;
    });
    return activation;
  }

  /** Fails for a plugin that is of other kinds. */
  async need(kind: PluginKind): Promise<void> {
    const kinds = await this.activate();
    if (!kinds.includes(kind))
      throw new EngineError(
        'not-found',
        `plugin ${this.name}: Plugin.Activate: plugin does not provide "${kind}" capability (it provides ${kinds.join(', ') || 'none'})`,
      );
  }

  /** One call to a plugin that was greeted. */
  async call<M extends JsonMethod>(method: M, body: RequestOf<M>, options: CallOptions = {}): Promise<ResponseOf<M>> {
    return this.reached(method, () => this.client.call(method, body, options));
  }

  download(method: 'GraphDriver.Diff' | 'LogDriver.ReadLogs', body: object, options: CallOptions = {}): Promise<Readable> {
    return this.reached(method, () => this.client.download(method, body, options));
  }

  upload(
    method: 'GraphDriver.ApplyDiff',
    query: Readonly<Record<string, string>>,
    body: Readable,
    options: CallOptions = {},
  ): Promise<{ Size?: number | null }> {
    return this.reached(method, () => this.client.upload(method, query, body, options));
  }

  /** What the plugin refused and nobody waits for any more. */
  refused(method: Method, error: Error): void {
    this.observer.log.warn('a plugin refused a call; going on', { plugin: this.name, method, error: error.message });
  }

  private async greet(): Promise<readonly string[]> {
    if (this.place.kinds) {
      this.kindsKnown = this.place.kinds;
      return this.place.kinds;
    }
    return this.met('Plugin.Activate', async () => {
      const { Implements } = await this.client.call('Plugin.Activate', undefined);
      // Before anybody is told that it is active, who may ask what it is.
      this.kindsKnown = Implements;
      return Implements;
    });
  }

  private async reached<T>(method: Method, act: () => Promise<T>): Promise<T> {
    // A plugin that was started anew may be another one by now.
    if (this.currentLife() !== this.life || !this.activation) await this.activate();
    this.refuseWhileResting();
    return this.met(method, act);
  }

  private async met<T>(method: Method, act: () => Promise<T>): Promise<T> {
    try {
      const result = await act();
      this.rest = 0;
      this.enter('active');
      return result;
    } catch (error) {
      if (error instanceof Unreached) this.failed(method, error);
      // It answered, be it a refusal.
      else if (!(error instanceof EngineError && error.kind === 'cancelled')) {
        this.rest = 0;
        this.enter('active');
        if (error instanceof EngineError && error.message.startsWith(`plugin ${this.name}: `)) this.note(method, error);
      }
      throw error;
    }
  }

  private failed(method: Method, error: Unreached): void {
    this.note(method, error);
    if (error.hangs) {
      this.rest = Math.min(Math.max(this.rest * 2, limits.firstRest), limits.longestRest);
      this.restUntil = performance.now() + this.rest;
    }
    this.enter('unavailable', error.message);
  }

  private note(method: Method, error: Error): void {
    this.lastError = { at: new Date().toISOString(), method, message: messageOf(error) };
  }

  private refuseWhileResting(): void {
    const left = this.restUntil - performance.now();
    if (this.rest === 0 || left <= 0) return;
    throw new Unreached(
      `plugin ${this.name}: it does not answer and is tried again in ${Math.ceil(left / 1000)} s (${this.lastError?.message ?? ''})`,
      false,
      false,
    );
  }

  /** Tells one life of the plugin from the next, by its socket. Over TCP there is nothing to see. */
  currentLife(): string {
    if (!this.place.address.startsWith('unix://')) return 'tcp';
    try {
      const { dev, ino, ctimeMs } = statSync(this.place.address.slice('unix://'.length));
      const life = `${dev}:${ino}:${ctimeMs}`;
      // A new socket owes nothing for the old one's silence.
      if (life !== this.life) this.restUntil = 0;
      return life;
    } catch {
      return this.life;
    }
  }

  private forget(): void {
    this.activation = undefined;
    this.life = '';
    this.rest = 0;
    this.kindsKnown = this.place.kinds ?? [];
  }

  private enter(state: PluginStatus['state'], error?: string): void {
    if (this.state === state) return;
    this.state = state;
    this.observer.changed(this, state, error);
  }
}
