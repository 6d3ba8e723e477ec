import type { PluginCallRecord, PluginCalls } from '@gantry/core/contracts/plugin.js';

/** Durations that a percentile looks at. */
const REMEMBERED = 256;

class MethodCalls {
  count = 0;
  failures = 0;
  inFlight = 0;
  private readonly durations: number[] = [];

  took(ms: number): void {
    if (this.durations.length < REMEMBERED) this.durations.push(ms);
    else this.durations[this.count % REMEMBERED] = ms;
    this.count++;
  }

  percentile(share: number): number {
    const sorted = this.durations.toSorted((a, b) => a - b);
    const at = sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
    return Math.round(at * 1000) / 1000;
  }
}

/** What one plugin was asked: counters for status, and the calls themselves for whoever listens. */
export class CallLog {
  private readonly methods = new Map<string, MethodCalls>();
  private readonly listeners = new Set<(record: PluginCallRecord) => void>();

  constructor(private readonly plugin: string) {}

  /** Whether anybody wants the calls themselves; without, nothing is copied. */
  get traced(): boolean {
    return this.listeners.size > 0;
  }

  listen(listener: (record: PluginCallRecord) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Begins a call; the function that is given back ends it. */
  begin(method: string, request: unknown): (end: { response?: unknown; status?: number; error?: string }) => void {
    const calls = this.methods.get(method) ?? new MethodCalls();
    this.methods.set(method, calls);
    calls.inFlight++;
    const at = this.traced ? new Date().toISOString() : '';
    const began = performance.now();
    return (end) => {
      const ms = performance.now() - began;
      calls.inFlight--;
      calls.took(ms);
      if (end.error !== undefined) calls.failures++;
      if (!this.traced) return;
      const record: PluginCallRecord = {
        plugin: this.plugin,
        method,
        at: at || new Date(Date.now() - ms).toISOString(),
        ms: Math.round(ms * 1000) / 1000,
        ...(request === undefined ? {} : { request }),
        ...end,
      };
      for (const listener of this.listeners) listener(record);
    };
  }

  summary(): PluginCalls[] {
    return [...this.methods].map(([method, calls]) => ({
      method,
      count: calls.count,
      failures: calls.failures,
      inFlight: calls.inFlight,
      p50: calls.percentile(0.5),
      p99: calls.percentile(0.99),
    }));
  }
}
