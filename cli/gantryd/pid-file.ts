import { closeSync, mkdirSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { EngineError } from '@gantry/core/contracts/errors.js';

/** Whether a process of that pid runs a program of that name; a pid that was used again by something else does not count. */
function runs(pid: number, program: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(program);
  } catch {
    return false;
  }
}

/** Writes the pid file; one whose daemon is gone is replaced. Gives back what removes it. */
export function writePidFile(path: string): () => void {
  mkdirSync(dirname(path), { recursive: true });
  for (let attempt = 0; ; attempt++) {
    try {
      const fd = openSync(path, 'wx', 0o644);
      writeSync(fd, `${process.pid}\n`);
      closeSync(fd);
      return () => rmSync(path, { force: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST' || attempt > 0) throw error;
      const pid = Number(readFileSync(path, 'utf8').trim());
      if (pid > 0 && runs(pid, 'gantryd'))
        throw new EngineError('conflict', `pid file ${path} is there: a gantryd with pid ${pid} is running`, { cause: error });
      rmSync(path, { force: true });
    }
  }
}
