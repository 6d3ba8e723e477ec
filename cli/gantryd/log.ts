import type { Logger } from '@gantry/core/contracts/manifest.js';

export const logLevels: readonly string[] = ['debug', 'info', 'warn', 'error', 'fatal'];

/** A log whose level may change while the daemon runs. */
export interface DaemonLog extends Logger {
  setLevel(level: string): void;
}

/** The daemon's log on standard error: one line an entry, as text for a person or JSON for a collector. */
export async function openLog(level: string, format: string): Promise<DaemonLog> {
  if (format === 'json') {
    const { pino } = await import('pino');
    const log = pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime }, pino.destination({ dest: 2, sync: true }));
    return {
      debug: (message, fields) => log.debug(fields ?? {}, message),
      info: (message, fields) => log.info(fields ?? {}, message),
      warn: (message, fields) => log.warn(fields ?? {}, message),
      error: (message, fields) => log.error(fields ?? {}, message),
      setLevel: (wanted) => void (log.level = wanted),
    };
  }
  let least = logLevels.indexOf(level);
  const write = (rank: number, word: string) => (message: string, fields?: Record<string, unknown>) => {
    if (rank < least) return;
    const rest = Object.entries(fields ?? {}).map(
      ([key, value]) => ` ${key}=${typeof value === 'string' && /^[\w./:@-]+$/.test(value) ? value : JSON.stringify(value)}`,
    );
    process.stderr.write(`${new Date().toISOString()} ${word} ${message}${rest.join('')}\n`);
  };
  return {
    debug: write(0, 'debug'),
    info: write(1, 'info '),
    warn: write(2, 'warn '),
    error: write(3, 'error'),
    setLevel: (wanted) => void (least = logLevels.indexOf(wanted)),
  };
}
