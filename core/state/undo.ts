import { messageOf } from '../contracts/errors.js';
import type { Logger } from '../contracts/manifest.js';

/** How to take back what an operation has acquired so far. Steps run in reverse order; a failing one is logged and the rest still run. */
export class UndoStack {
  private steps: { readonly what: string; readonly undo: () => Promise<void> | void }[] = [];

  constructor(private readonly log: Logger) {}

  push(what: string, undo: () => Promise<void> | void): void {
    this.steps.push({ what, undo });
  }

  /** The operation succeeded: nothing will be taken back. */
  dismiss(): void {
    this.steps = [];
  }

  async run(): Promise<void> {
    for (let step = this.steps.pop(); step; step = this.steps.pop()) {
      try {
        await step.undo();
      } catch (error) {
        this.log.warn('undoing a step failed', { step: step.what, error: messageOf(error) });
      }
    }
  }
}
