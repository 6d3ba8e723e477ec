// `npm run bench`: Gantry beside Debian's dockerd, runc and crun, in interleaved order within one run; medians and ratios.
// Everything happens in a network and mount namespace of its own, on roots of its own. Arguments name the parts to run (all by default); with
// `--quick` the storage part takes fewer of everything.
import { spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { mkdirSync, writeFileSync } from 'node:fs';

const self = fileURLToPath(import.meta.url);
if (process.getuid() !== 0) {
  console.error('the bench runs containers, and that needs root here');
  process.exit(1);
}
if (process.env.GANTRY_BENCH_INSIDE !== '1') {
  const { status } = spawnSync(
    'unshare',
    ['--net', '--mount', '--propagation', 'private', process.execPath, self, ...process.argv.slice(2)],
    {
      stdio: 'inherit',
      env: { ...process.env, GANTRY_BENCH_INSIDE: '1' },
    },
  );
  process.exit(status ?? 1);
}
spawnSync('ip', ['link', 'set', 'lo', 'up']);

const { openPeers, versions } = await import('./peers.mjs');
const { rows, report } = await import('./report.mjs');
const parts = {
  runtime: () => import('./runtime.mjs'),
  run: () => import('./run.mjs'),
  lifecycle: () => import('./lifecycle.mjs'),
  list: () => import('./list.mjs'),
  memory: () => import('./memory.mjs'),
  log: () => import('./log.mjs'),
  pull: () => import('./pull.mjs'),
  network: () => import('./network.mjs'),
  overlay: () => import('./overlay.mjs'),
};
/** Parts that open peers of their own, after the others'. */
const alone = { storage: () => import('./storage.mjs') };
const words = process.argv.slice(2);
const quick = words.includes('--quick');
const chosen = words.filter((word) => word !== '--quick');
for (const name of chosen) {
  if (!parts[name] && !alone[name]) {
    console.error(`no such part: ${name} (there are ${Object.keys({ ...parts, ...alone }).join(', ')})`);
    process.exit(2);
  }
}
const wanted = (list) => Object.entries(list).filter(([name]) => chosen.length === 0 || chosen.includes(name));
const run = async (list, peers) => {
  for (const [name, load] of list) {
    console.error(`# ${name}`);
    const { measure } = await load();
    await measure(peers);
  }
};
const together = wanted(parts);
if (together.length > 0) {
  const peers = await openPeers();
  try {
    await run(together, peers);
  } finally {
    await peers.close();
  }
}
await run(wanted(alone), { quick });
const text = report(versions());
console.log(text);
const out = join(dirname(self), '..', 'build');
mkdirSync(out, { recursive: true });
if (rows.length > 0) writeFileSync(join(out, 'bench.md'), text);
