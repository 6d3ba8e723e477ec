import { EngineError, conflict, invalid } from '../contracts/errors.js';
import type { Container } from './container.js';
import type { TopResult } from './containers.js';
import { LIMITS } from './limits.js';
import type { ContainerRoom } from './room.js';
import { DEFAULT_PATH } from './environment.js';

/** The host's ps, asked for everything and filtered by the container's processes, as Docker does it. */
export async function top(room: ContainerRoom, container: Container, psArgs: string): Promise<TopResult> {
  const live = room.live.get(container.id);
  if (!live) throw conflict(`container ${container.id} is not running`);
  if (container.state.status === 'restarting') {
    throw conflict(`container ${container.id} is restarting, wait until the container is running`);
  }
  const args = (psArgs === '' ? '-ef' : psArgs).split(/\s+/).filter((word) => word !== '');
  for (const arg of args) {
    // A renamed PID column could not be found any more.
    if (/(?:^|,)pid=/i.test(arg.replace(/^-?o/, ''))) throw invalid(`specifying "${arg}" is not allowed`);
  }
  const pids = new Set(await live.task.pids());
  const { code, stdout, stderr } = await room.host.process.run({
    path: '/bin/ps',
    args: ['ps', ...args],
    env: [`PATH=${DEFAULT_PATH}`, 'LC_ALL=C.UTF-8'],
    limit: LIMITS.psBytes,
    timeoutMs: 10_000,
  });
  if (code !== 0) throw new EngineError('system', `error running ps: ${stderr.toString('utf8').trim() || `exit status ${code}`}`);
  room.publish(container, 'top');
  return filterPs(stdout.toString('utf8'), pids);
}

/** Keeps the lines of the given processes. The last column keeps its blanks. */
export function filterPs(output: string, pids: ReadonlySet<number>): TopResult {
  const [head = '', ...lines] = output.split('\n');
  const titles = head.trim().split(/\s+/);
  const pidColumn = titles.indexOf('PID');
  if (pidColumn < 0) throw new EngineError('system', "Couldn't find PID field in ps output");
  const processes: string[][] = [];
  // A line whose PID is "-" is a thread of the process above it.
  let keep = false;
  for (const line of lines) {
    if (line.trim() === '') continue;
    const fields = splitColumns(line, titles.length);
    const pid = fields[pidColumn];
    if (pid !== '-') keep = pids.has(Number(pid));
    if (keep) processes.push(fields);
  }
  return { titles, processes };
}

function splitColumns(line: string, columns: number): string[] {
  const fields: string[] = [];
  let rest = line.trimStart();
  while (fields.length < columns - 1) {
    const match = /^(\S+)\s+/.exec(rest);
    if (!match) break;
    fields.push(match[1] ?? '');
    rest = rest.slice(match[0].length);
  }
  fields.push(rest.trimEnd());
  return fields;
}
