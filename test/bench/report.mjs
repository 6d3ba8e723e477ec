// The table of one run.
import { loadavg } from 'node:os';

export const rows = [];

export const median = (values) => quantile(values, 0.5);

export function quantile(values, q) {
  const sorted = [...values].sort((a, b) => a - b);
  if (sorted.length === 0) return Number.NaN;
  return sorted[Math.min(sorted.length - 1, Math.ceil(q * sorted.length) - 1 < 0 ? 0 : Math.ceil(q * sorted.length) - 1)];
}

const show = (value) => (value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2));

/** One row: a figure of each who took part. `better` says whether less or more is better; the ratio is ours to the peer's. */
export function row(figure, unit, n, ours, peers) {
  rows.push({ figure, unit, n, ours, peers });
  const others = Object.entries(peers).map(([name, value]) => `${name} ${show(value)} (${show(ours / value)})`);
  console.error(`  ${[`${figure}: gantry ${show(ours)} ${unit}`, ...others].join('; ')}`);
}

/** Runs each contestant once a round, in turn, so that a drift of the machine meets all of them. */
export async function interleaved(rounds, contestants, { warmUp = 1 } = {}) {
  const times = Object.fromEntries(Object.keys(contestants).map((name) => [name, []]));
  for (let round = -warmUp; round < rounds; round++) {
    for (const [name, work] of Object.entries(contestants)) {
      const began = performance.now();
      const own = await work(round);
      const took = performance.now() - began;
      if (round >= 0) times[name].push(own ?? took);
    }
  }
  return times;
}

const load = () => loadavg().map((value) => value.toFixed(1));
const loadBefore = load();

/** With the machine's load: that of the minute before, and of the last 1, 5 and 15 minutes. */
export function report(versions) {
  const lines = [
    `${new Date().toISOString().slice(0, 10)}; ${versions.join('; ')}; load ${loadBefore[0]} before, ${load().join(' ')} after`,
    '',
    '| figure | unit | n | gantry | peers (ratio of gantry to it) |',
    '|---|---|---|---|---|',
  ];
  for (const { figure, unit, n, ours, peers } of rows) {
    const others = Object.entries(peers).map(([name, value]) => `${name} ${show(value)} (${show(ours / value)})`);
    lines.push(`| ${figure} | ${unit} | ${n} | ${show(ours)} | ${others.join('; ')} |`);
  }
  return `${lines.join('\n')}\n`;
}
