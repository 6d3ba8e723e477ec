/** One call as the engine tells of it, and as a recording keeps it, one to a line. */
export interface RecordedCall {
  readonly Plugin: string;
  readonly Method: string;
  readonly Time: string;
  readonly Milliseconds: number;
  readonly Status?: number;
  readonly Request?: unknown;
  readonly Response?: unknown;
  readonly Error?: string;
  readonly Lost?: number;
}

const REQUEST_SHOWN = 300;

/** For people. */
export function callLine(call: RecordedCall): string {
  const request = call.Request === undefined ? '(empty)' : JSON.stringify(call.Request);
  const outcome = call.Error === undefined ? JSON.stringify(call.Response ?? {}) : `FAILED ${call.Error}`;
  const lost = call.Lost === undefined ? '' : `  (${call.Lost} calls are missing)`;
  return `${call.Time}  ${call.Method}  ${call.Milliseconds} ms  ${short(request)}  ->  ${short(outcome)}${lost}`;
}

const short = (text: string): string => (text.length > REQUEST_SHOWN ? `${text.slice(0, REQUEST_SHOWN)}…` : text);

/** Reads a recording; a line that is none is named. */
export function readRecording(text: string, file: string): RecordedCall[] {
  return text
    .split('\n')
    .map((line, index) => ({ line, number: index + 1 }))
    .filter(({ line }) => line.trim() !== '')
    .map(({ line, number }) => {
      try {
        const call = JSON.parse(line) as RecordedCall;
        if (typeof call.Method === 'string') return call;
      } catch {
        // told below
      }
      throw new Error(`${file}:${number}: this is no recorded call`);
    });
}

/** What differs between two answers, by the place in them; times and what plugins choose anew each time differ for good reason and are shown all the same. */
export function differences(recorded: unknown, now: unknown, place = ''): string[] {
  if (JSON.stringify(recorded) === JSON.stringify(now)) return [];
  const both = [recorded, now];
  if (both.every((value) => typeof value === 'object' && value !== null && !Array.isArray(value))) {
    const [before, after] = both as [Record<string, unknown>, Record<string, unknown>];
    return [...new Set([...Object.keys(before), ...Object.keys(after)])].flatMap((key) =>
      differences(before[key], after[key], place === '' ? key : `${place}.${key}`),
    );
  }
  return [`${place || 'the answer'} was ${JSON.stringify(recorded)} and is ${JSON.stringify(now)}`];
}
