// Joins what tsc made of the two programs, with the packages that they use, into few files: a process that reads two hundred
// files at its start spends most of the start on finding them.
import { copyFileSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { rolldown } from 'rolldown';
import { driverSet, indexModule } from './driver-set.mjs';

const dist = join(dirname(dirname(fileURLToPath(import.meta.url))), 'dist');
/** Where the bundles go: beside what they are made of, or where a test wants them. */
const bundles = process.env.GANTRY_BUNDLES || join(dist, 'bundle');
const drivers = driverSet();

/**
 * oclif loads all of itself at once, for plugins and help pages that `gantry` does without. Its modules are CommonJS as tsc
 * writes it, with a name for each import that is used nowhere else; here each use becomes the `require` itself, so that a
 * module runs when it is first needed.
 */
const lateRequires = {
  name: 'late-requires',
  transform: {
    filter: { id: /@oclif[/\\]core[/\\]lib[/\\].*\.js$/ },
    handler(code) {
      const imports = [...code.matchAll(/^const (\w+_\d+) = ((?:__importDefault|__importStar)\()?require\(("[^"]+")\)\)?;$/gm)];
      let late = code;
      for (const [line, name, wrapper = '', module] of imports) {
        const call = wrapper === '' ? `require(${module})` : `${wrapper}require(${module}))`;
        late = late.replace(line, '').replaceAll(new RegExp(`\\b${name}\\b`, 'g'), () => call);
      }
      return { code: late, map: null };
    },
  },
};

/**
 * An `import` of a module of Node's reads everything that it exports, also what it would load only when asked for: with
 * `node:http` that is all of fetch and websockets, a tenth of the daemon's start. Asked for as a value it stays lazy.
 */
const lazyHttp = {
  name: 'lazy-http',
  resolveId: { filter: { id: /^(node:)?http$/ }, handler: () => '\0lazy-http' },
  load: { filter: { id: /^\0lazy-http$/ }, handler: () => "module.exports = process.getBuiltinModule('node:http');" },
};

/** What is bundled is what the set lists: a driver that is left out is not read. */
const chosenDrivers = {
  name: 'chosen-drivers',
  load: {
    filter: { id: /[/\\]drivers[/\\]dist[/\\]index\.js$/ },
    handler: () => ({ code: indexModule(drivers), moduleSideEffects: false }),
  },
};

/**
 * The program's `main.js` stays as it is: it switches Node's compile cache on before the part beside it, the bundle, is read.
 * Made beside the old one and put in its place at once, since the program may be started at any moment.
 */
async function bundle(name, folder, part, output) {
  const made = join(bundles, `.${name}.${process.pid}`);
  const old = `${made}.old`;
  const place = join(bundles, name);
  try {
    const build = await rolldown({ input: join(folder, `${part}.js`), platform: 'node', plugins: [lateRequires, lazyHttp, chosenDrivers] });
    await build.write({ dir: made, format: 'esm', entryFileNames: '[name].js', chunkFileNames: '[name].js', ...output });
    await build.close();
    copyFileSync(join(folder, 'main.js'), join(made, 'main.js'));
    mkdirSync(place, { recursive: true });
    renameSync(place, old);
    renameSync(made, place);
  } finally {
    rmSync(made, { recursive: true, force: true });
    rmSync(old, { recursive: true, force: true });
  }
}

// One command loads its own part alone.
await bundle('gantry', dist, 'program', {});
// A daemon that is built anew while it runs must not load a part of its successor: all of it is read at the start.
await bundle('gantryd', join(dist, 'gantryd'), 'daemon', { codeSplitting: false });
// What it was made for, to see when that changes.
writeFileSync(join(bundles, 'drivers.json'), `${JSON.stringify(drivers)}\n`);
