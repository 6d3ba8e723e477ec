import { messageOf } from '../contracts/errors.js';
import type { Logger } from '../contracts/manifest.js';

/** Something on which records, journal, drivers and kernel do not agree, and what became of it. */
export interface Finding {
  /** The kind of thing: `layer`, `snapshot`, `container`, `mount`, `folder`, `blob`, `driver`. */
  readonly area: string;
  /** Its id or path. */
  readonly subject: string;
  readonly problem: string;
  /** What a repair does; '' when only a person can mend it. */
  readonly remedy: string;
  readonly state: 'found' | 'repaired' | 'failed';
  /** Why the repair failed, else ''. */
  readonly error: string;
}

/**
 * One look through the engine's rooms. Each room tells what it finds and how that is mended; whether it is mended is decided here, so
 * that a look never changes anything and a repair does what a look announced. A repair that fails does not end the look.
 */
export class Examination {
  readonly findings: Finding[] = [];

  constructor(
    /** Whether what is found is mended at once. */
    readonly repair: boolean,
    private readonly log: Logger,
  ) {}

  async found(what: Pick<Finding, 'area' | 'subject' | 'problem' | 'remedy'>, mend?: () => Promise<unknown>): Promise<void> {
    const fields = { area: what.area, subject: what.subject };
    if (!this.repair || !mend) {
      this.log.warn(what.problem, fields);
      this.findings.push({ ...what, state: 'found', error: '' });
      return;
    }
    try {
      await mend();
      this.log.info(`repaired: ${what.problem}`, { ...fields, by: what.remedy });
      this.findings.push({ ...what, state: 'repaired', error: '' });
    } catch (error) {
      this.log.error(`not repaired: ${what.problem}`, { ...fields, error: messageOf(error) });
      this.findings.push({ ...what, state: 'failed', error: messageOf(error) });
    }
  }
}
