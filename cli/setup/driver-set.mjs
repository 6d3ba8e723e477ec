// Which drivers a build contains: `drivers/set.json`, or the file that GANTRY_DRIVERS names, lists them as KIND/NAME. What follows
// from it (modules of the bundle, Debian packages; native sources are native/drivers.cmake's) is worked out here.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const folder = join(root, 'drivers');

/** Every driver in the source tree: each folder with a manifest. */
export function allDrivers() {
  const kinds = readdirSync(folder, { withFileTypes: true }).filter(
    (entry) => entry.isDirectory() && !['dist', 'node_modules'].includes(entry.name),
  );
  return kinds
    .flatMap(({ name: kind }) =>
      readdirSync(join(folder, kind))
        .filter((name) => existsSync(join(folder, kind, name, 'manifest.ts')))
        .map((name) => `${kind}/${name}`),
    )
    .toSorted();
}

/** The drivers of this build, in the list's order, which is also that of preference. */
export function driverSet(file = process.env.GANTRY_DRIVERS || join(folder, 'set.json')) {
  const listed = JSON.parse(readFileSync(resolve(file), 'utf8'));
  if (!Array.isArray(listed) || listed.some((one) => typeof one !== 'string')) throw new Error(`${file} is no list of drivers`);
  const all = allDrivers();
  for (const one of listed) if (!all.includes(one)) throw new Error(`${file}: there is no driver ${one} (there are ${all.join(', ')})`);
  for (const kind of ['storage', 'network', 'ipam', 'log', 'runtime'])
    if (!listed.some((one) => one.startsWith(`${kind}/`))) throw new Error(`${file}: no engine can do without a ${kind} driver`);
  return listed;
}

const needsOf = (driver) => {
  const file = join(folder, driver, 'build.json');
  return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : {};
};

/** Debian packages that some driver of the set is built with; those that every build needs are the set-up's own. */
export const packagesOf = (drivers) => [...new Set(drivers.flatMap((driver) => needsOf(driver).debian ?? []))].toSorted();

/** The text of the module that stands in the place of drivers/index.js in a bundle: only what is listed is ever read. */
export function indexModule(drivers) {
  const from = (driver) => JSON.stringify(pathToFileURL(join(folder, 'dist', driver, 'manifest.js')).pathname);
  const leftOut = allDrivers().filter((driver) => !drivers.includes(driver));
  return [
    ...drivers.map((driver, at) => `import * as manifest${at} from ${from(driver)};`),
    `const kinds = ${JSON.stringify(drivers.map((driver) => driver.split('/')[0]))};`,
    `const modules = [${drivers.map((_, at) => `manifest${at}`).join(', ')}];`,
    'export const drivers = modules.map((module, at) => Object.values(module).find((one) => one?.kind === kinds[at]));',
    `export const leftOut = ${JSON.stringify(leftOut)};`,
  ].join('\n');
}

// As a program: the Debian packages of the set, for the set-up.
if (process.argv[1] === fileURLToPath(import.meta.url)) process.stdout.write(`${packagesOf(driverSet()).join(' ')}\n`);
