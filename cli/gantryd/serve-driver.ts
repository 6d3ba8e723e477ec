import { mkdirSync } from 'node:fs';
import { resolve, join } from 'node:path';
import { parseArgs } from 'node:util';
import { createHash } from 'node:crypto';
import { invalid, unavailable } from '@gantry/core/contracts/errors.js';
import type { AnyManifest, DriverEnv, DriverKind } from '@gantry/core/contracts/manifest.js';
import { host } from '@gantry/native/index.js';
import { serve } from '@gantry/plugins/sdk/server/serve.js';
import { servedKinds, servedParts } from '@gantry/plugins/serve/in-tree.js';
import { builtIn } from './driver-sources.js';
import { openLog } from './log.js';

/** `gantryd serve-driver KIND/NAME`: one driver of this build as a plugin, for this engine or any other. Serves until it is told to end. */
export async function serveDriver(argv: readonly string[]): Promise<void> {
  const { values, positionals } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: {
      socket: { type: 'string' },
      'data-root': { type: 'string', default: '/var/lib/gantry-served' },
      'exec-root': { type: 'string', default: '/run/gantry-served' },
      opt: { type: 'string', multiple: true, default: [] },
    },
  });
  const [kind = '', name = ''] = (positionals[0] ?? '').split('/');
  if (kind === 'runtime')
    throw invalid(
      `the plugin protocol has no kind for runtimes, so ${kind}/${name} cannot be served; an engine takes another one by its path (--add-runtime)`,
    );
  if (positionals.length !== 1 || !(servedKinds as readonly string[]).includes(kind))
    throw invalid(`say which driver as KIND/NAME, where KIND is one of ${servedKinds.join(', ')}`);
  const manifest = (await builtIn.find(kind as DriverKind, name)) as AnyManifest | undefined;
  if (!manifest) throw invalid(`this build has no ${kind} driver ${name} (${builtIn.names(kind as DriverKind).join(', ')})`);
  const socket = resolve(values.socket ?? `/run/docker/plugins/${name}.sock`);
  const root = resolve(values['data-root']);
  const env: DriverEnv = {
    root: join(root, kind, name),
    runRoot: join(resolve(values['exec-root']), kind, name),
    instance: createHash('sha256').update(root).digest('hex').slice(0, 8),
    options: Object.fromEntries(values.opt.map((option) => [option.split('=')[0] ?? '', option.slice(option.indexOf('=') + 1)])),
    host,
    log: await openLog('info', 'text'),
  };
  for (const folder of [env.root, env.runRoot]) mkdirSync(folder, { recursive: true, mode: 0o700 });
  const probe = await manifest.probe(env);
  if (!probe.ok) throw unavailable(`${kind} driver ${name} cannot serve on this host: ${probe.reason}`);
  const parts = await servedParts(manifest, env);
  await serve({ ...parts, socket, onClose: () => parts.close() });
  env.log.info('serving', { driver: `${kind}/${name}`, socket });
}
