// The floor program and the stopwatch, compiled when the bench needs them, and what the stopwatch's lines say.
import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const sources = join(dirname(fileURLToPath(import.meta.url)), 'floor');

/** Small and static, as what they are compared with. Gives the paths of both programs. */
export function buildPrograms(folder) {
  mkdirSync(folder, { recursive: true });
  const { stdout } = spawnSync('gcc', ['-print-multiarch'], { encoding: 'utf8' });
  // musl has no headers of the kernel; the C library's stay behind its own.
  const headers = ['-idirafter', '/usr/include', '-idirafter', `/usr/include/${stdout.trim()}`];
  const compile = (name, files) => {
    const program = join(folder, name);
    const words = ['-D_GNU_SOURCE', '-O2', '-static', ...headers, '-o', program, ...files.map((file) => join(sources, file))];
    const { status, stderr } = spawnSync('musl-gcc', words, { encoding: 'utf8' });
    if (status !== 0) throw new Error(`${name} does not compile: ${stderr}`);
    return program;
  };
  return { floor: compile('floor', ['floor.c', 'device_program.c']), stopwatch: compile('stopwatch', ['stopwatch.c']) };
}

/**
 * Runs the steps `[name, ...words]` once a round, in turn. Gives for each name the wall and processor times in ms and the peak memory in MB
 * of every round but the first two.
 */
export function measureInTurn(stopwatch, rounds, steps) {
  const warmUp = 2;
  const plan = steps.map((words) => words.join('\t')).join('\n');
  const { status, stdout, stderr } = spawnSync(stopwatch, [String(rounds + warmUp)], { input: plan, encoding: 'utf8' });
  if (status !== 0) throw new Error(stderr);
  const times = {};
  for (const line of stdout.trim().split('\n')) {
    const [name, wall, cpu, peak] = line.split('\t');
    const of = (times[name] ??= { wall: [], cpu: [], peak: [] });
    of.wall.push(Number(wall) / 1000);
    of.cpu.push(Number(cpu) / 1000);
    of.peak.push(Number(peak) / 1024);
  }
  for (const of of Object.values(times)) for (const values of Object.values(of)) values.splice(0, warmUp);
  return times;
}
