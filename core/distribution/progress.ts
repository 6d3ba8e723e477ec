/** One line of progress, in the terms that Docker's clients draw. */
export interface Progress {
  readonly id?: string;
  readonly status?: string;
  readonly current?: number;
  readonly total?: number;
  /** A line printed as it is (load, import). */
  readonly stream?: string;
  /** `aux` of a push: tag, digest, size. */
  readonly aux?: { readonly tag: string; readonly digest: string; readonly size: number };
}

/** Takes progress; never blocks and never throws. The first call fixes the answer's status, so everything that can fail early fails before. */
export type ProgressSink = (progress: Progress) => void;

/** Milliseconds between two lines about one transfer. */
const INTERVAL = 100;

/** Lets through one call in a while, so that a fast transfer does not become a flood of lines. */
export function throttled(report: (current: number) => void): (current: number) => void {
  let last = Number.NEGATIVE_INFINITY;
  return (current) => {
    const now = performance.now();
    if (now - last < INTERVAL) return;
    last = now;
    report(current);
  };
}
