import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeImage, startRegistry } from '../../cli/setup/trial-image.mjs';
import { Dockerd, whyNoDockerd } from '../fakes/dockerd.js';
import { Recorder } from '../fakes/recorder.js';
import { eventually } from '../network/probe.js';
import { Engine, whyNoEngine } from './engine.js';
import { openTrial, type Trial } from './trial.js';

const reason = whyNoEngine() ?? whyNoDockerd();

/** What both daemons are told, the same words to each. */
const commands: Readonly<Record<string, { kinds: string[]; steps: string[][] }>> = {
  volume: {
    kinds: ['VolumeDriver'],
    steps: [
      ['volume', 'create', '-d', 'recorder', '-o', 'colour=red', 'kept'],
      ['volume', 'inspect', 'kept'],
      ['run', '--rm', '--network', 'none', '-v', 'kept:/data', 'IMAGE', 'true'],
      ['volume', 'rm', 'kept'],
    ],
  },
  network: {
    kinds: ['NetworkDriver', 'IpamDriver'],
    steps: [
      ['network', 'create', '-d', 'recorder', '--ipam-driver', 'recorder', '--subnet', '10.205.3.0/24', '-o', 'colour=red', 'theirs'],
      ['run', '--rm', '--network', 'theirs', 'IMAGE', 'true'],
      ['network', 'rm', 'theirs'],
    ],
  },
  log: {
    kinds: ['LogDriver'],
    steps: [['run', '--rm', '--network', 'none', '--log-driver', 'recorder', '--log-opt', 'colour=red', 'IMAGE', 'echo', 'hello']],
  },
};

/**
 * Where the sequences differ, and why that is right. Each entry takes its calls out of both sequences before they are compared, so
 * whatever is not explained here is a failure.
 */
const explained: Readonly<Record<string, readonly { readonly method: string; readonly why: string }[]>> = {
  volume: [
    {
      method: 'VolumeDriver.Get',
      why: 'dockerd asks before each call whether the volume is there; this engine has a record, and asks before a creation only',
    },
    { method: 'VolumeDriver.Capabilities', why: 'asked once for each life of the plugin, dockerd asks when it first needs the scope' },
    { method: 'VolumeDriver.List', why: 'a name without a driver is looked for with every driver, and in another order' },
    { method: 'VolumeDriver.Path', why: 'dockerd asks for a path that Get has told already' },
  ],
  network: [
    { method: 'NetworkDriver.EndpointOperInfo', why: 'dockerd asks twice for what it shows nowhere' },
    { method: 'NetworkDriver.ProgramExternalConnectivity', why: 'without published ports there is nothing to program' },
    { method: 'NetworkDriver.RevokeExternalConnectivity', why: 'this engine takes back also what may have been left by a crash' },
    { method: 'NetworkDriver.GetCapabilities', why: 'both ask with the greeting, which may come earlier in one of them' },
    { method: 'IpamDriver.GetCapabilities', why: 'as above' },
    { method: 'IpamDriver.GetDefaultAddressSpaces', why: 'dockerd asks once when it registers the driver, this engine with each network' },
    {
      method: 'NetworkDriver.DeleteNetwork',
      why: 'dockerd gives the pool back before the network is deleted; here nobody can get the pool while the network stands',
    },
  ],
  log: [{ method: 'LogDriver.ReadLogs', why: 'only when somebody reads' }],
};

describe.skipIf(reason)(`plugins see from this engine what they see from dockerd${reason ? ` (skipped: ${reason})` : ''}`, () => {
  let trial: Trial;
  let peer: Dockerd;
  const started: Recorder[] = [];
  const seen: Record<string, { dockerd: string[]; gantryd: string[] }> = {};

  const drive = async (
    folder: string,
    sockets: string,
    docker: (args: readonly string[]) => { code: number; stdout: string; stderr: string },
    kind: string,
    wrapper: readonly string[],
  ): Promise<{ methods: string[]; recorder: Recorder }> => {
    const { kinds, steps } = commands[kind] ?? { kinds: [], steps: [] };
    // Each kind is a plugin of its own name: a daemon remembers what a name implements.
    const name = `rec${kind}`;
    const recorder = await Recorder.start({ name, sockets, folder: join(folder, `recorder-${kind}`), kinds, wrapper });
    started.push(recorder);
    for (const step of steps) {
      const args = step.map((word) => (word === 'IMAGE' ? trial.image : word === 'recorder' ? name : word));
      const result = docker(args);
      expect(result, `docker ${args.join(' ')}: ${result.stderr}`).toMatchObject({ code: 0 });
    }
    if (kind === 'log')
      await eventually(async () => recorder.methods().includes('LogDriver.StopLogging'), 'the plugin was told of the end');
    return { methods: recorder.methods(), recorder };
  };

  beforeAll(async () => {
    trial = await openTrial();
    mkdirSync(trial.engine.pluginFolder, { recursive: true });
    peer = await Dockerd.start(['--insecure-registry', '127.0.0.0/8']);
    const pulled = peer.docker('pull', '-q', trial.image);
    if (pulled.code !== 0) throw new Error(pulled.stderr);
  }, 300_000);
  afterAll(async () => {
    for (const recorder of started) await recorder.kill();
    await peer?.stop();
    if (trial) expect(await trial.close()).toEqual({});
  });

  it.each(Object.keys(commands))(
    'in the same order for a %s plugin',
    async (kind) => {
      const theirs = await drive(peer.folder, peer.pluginFolder, (args) => peer.docker(...args), kind, kind === 'log' ? peer.inside : []);
      const ours = await drive(
        join(trial.engine.folder, 'recorders'),
        trial.engine.pluginFolder,
        (args) => trial.engine.docker(args),
        kind,
        [],
      );
      try {
        seen[kind] = { dockerd: theirs.methods, gantryd: ours.methods };
        const known = new Set((explained[kind] ?? []).map(({ method }) => method));
        const compared = (methods: readonly string[]): string[] => methods.filter((method) => !known.has(method));
        expect(compared(ours.methods), JSON.stringify(seen[kind], undefined, 1)).toEqual(compared(theirs.methods));
        // Whatever is explained away as order or number must still be asked at all, where it changes something.
        for (const method of ['NetworkDriver.DeleteNetwork']) expect(ours.methods.includes(method)).toBe(theirs.methods.includes(method));
        // The bodies have the same members, and the same emptiness.
        for (const call of ours.recorder.calls()) {
          const same = theirs.recorder.calls().find(({ method }) => method === call.method);
          if (!same) continue;
          expect({ method: call.method, empty: call.empty, members: Object.keys(call.request).toSorted() }).toEqual({
            method: same.method,
            empty: same.empty,
            members: Object.keys(same.request).toSorted(),
          });
        }
      } finally {
        await theirs.recorder.kill();
        await ours.recorder.kill();
      }
    },
    300_000,
  );
});

describe.skipIf(reason)('an access plugin is asked the same as by dockerd', () => {
  const asked = (recorder: Recorder): string[] =>
    recorder.calls().flatMap(({ method, request }) => {
      // The client asks for the version as often as it likes.
      if (method === 'Plugin.Activate' || /_ping/.test(String(request['RequestUri']))) return [];
      const status = request['ResponseStatusCode'] === undefined ? '' : ` ${String(request['ResponseStatusCode'])}`;
      return [`${method} ${String(request['RequestMethod'])} ${String(request['RequestUri']).replace(/^\/v1\.\d+/, '')}${status}`];
    });
  const steps = [
    ['volume', 'create', 'asked'],
    ['volume', 'inspect', 'asked'],
    ['volume', 'rm', 'asked'],
    ['network', 'ls'],
  ];

  it('in the same words and order', async () => {
    const folder = mkdtempSync('/var/tmp/gantry-asked-');
    let theirs: Recorder | undefined;
    const peer = await Dockerd.start(['--authorization-plugin', 'recaccess'], async (sockets) => {
      theirs = await Recorder.start({ name: 'recaccess', sockets, folder: join(folder, 'theirs'), kinds: ['authz'] });
    });
    const sockets = join(folder, 'sockets');
    mkdirSync(sockets);
    const ours = await Recorder.start({ name: 'recaccess', sockets, folder: join(folder, 'ours'), kinds: ['authz'] });
    const engine = await Engine.start(['--plugin-socket-folder', sockets, '--authorization-plugin', 'recaccess']);
    try {
      theirs?.forget();
      ours.forget();
      for (const step of steps) {
        expect(peer.docker(...step)).toMatchObject({ code: 0 });
        expect(engine.docker(step)).toMatchObject({ code: 0 });
      }
      expect(asked(ours)).toEqual(asked(theirs as Recorder));
      // Beyond dockerd: who is at the other end of a unix socket.
      expect(ours.calls()[0]?.request['User']).toBe('uid:0');
    } finally {
      await peer.stop();
      expect(await engine.stop()).toEqual({});
      await theirs?.kill();
      await ours.kill();
      rmSync(folder, { recursive: true, force: true });
    }
  }, 300_000);
});

describe.skipIf(reason)('a graph driver is called as by dockerd', () => {
  const steps = (image: string): string[][] => [
    ['pull', '-q', image],
    ['run', '--name', 'layered', '--network', 'none', image, 'touch', '/new'],
    ['diff', 'layered'],
    ['rm', 'layered'],
    ['rmi', image],
  ];

  /** Calls that are taken out of both sequences, and why that is right. */
  const explainedHere: Readonly<Record<string, string>> = {
    'Plugin.Activate': 'both greet it first',
    'GraphDriver.Exists':
      'this engine asks before and after what it makes, so that each of its steps can be done again; dockerd trusts its own records',
    'GraphDriver.Capabilities': 'dockerd asks whether differences come out byte for byte; this engine keeps the blobs that it pulled',
    'GraphDriver.Status': 'dockerd asks at its start, this engine when somebody wants to know',
  };

  /** Methods with the layers that they are about, by what those are: ids differ from engine to engine. */
  function sequence(recorder: Recorder): string[] {
    const roles = new Map<string, string>();
    const names: Readonly<Record<string, string>> = { 'GraphDriver.Create': 'image', 'GraphDriver.CreateReadWrite': 'init' };
    const seen: string[] = [];
    for (const { method, request, query } of recorder.calls()) {
      if (Object.hasOwn(explainedHere, method)) continue;
      const id = String(request['ID'] ?? query?.['id'] ?? '');
      const parent = String(request['Parent'] ?? query?.['parent'] ?? '');
      const role = names[method];
      // The first layer that can be written is the one with mount points, below that of the container.
      if (role !== undefined && !roles.has(id)) roles.set(id, role === 'init' && roles.get(parent) === 'init' ? 'container' : role);
      // What a cut-off attempt may have left is removed before anything is made in its place; dockerd lets it lie.
      if (method === 'GraphDriver.Remove' && !roles.has(id)) continue;
      const words = [method, roles.get(id), parent && `on ${roles.get(parent)}`].filter(Boolean).join(' ');
      // dockerd mounts the layer of a new container once more, before it is started.
      if (words === seen.at(-2) && /\.Get |\.Put /.test(words)) {
        seen.pop();
        continue;
      }
      seen.push(words);
    }
    return seen;
  }

  it('in the same order for each layer, with the same words', async () => {
    const folder = mkdtempSync('/var/tmp/gantry-graph-');
    const registry = await startRegistry();
    const image = await registry.push('trial/busybox', 'latest', await makeImage());
    let theirs: Recorder | undefined;
    const peer = await Dockerd.start(
      ['--experimental', '--storage-driver', 'recgraph', '--insecure-registry', '127.0.0.0/8'],
      async (sockets) => {
        theirs = await Recorder.start({ name: 'recgraph', sockets, folder: join(folder, 'theirs'), kinds: ['GraphDriver'] });
      },
    );
    const sockets = join(folder, 'sockets');
    mkdirSync(sockets);
    const ours = await Recorder.start({ name: 'recgraph', sockets, folder: join(folder, 'ours'), kinds: ['GraphDriver'] });
    const engine = await Engine.start(['--plugin-socket-folder', sockets, '--storage-driver', 'recgraph', '--bridge', 'none']);
    try {
      for (const step of steps(image)) {
        expect(peer.docker(...step), step.join(' ')).toMatchObject({ code: 0 });
        expect(engine.docker(step), step.join(' ')).toMatchObject({ code: 0 });
      }
      await expect.poll(() => sequence(ours), { timeout: 60_000 }).toEqual(sequence(theirs as Recorder));
      expect(sequence(ours)).toContain('GraphDriver.ApplyDiff image');
      for (const { method, request } of ours.calls()) {
        const same = theirs?.calls().find((call) => call.method === method);
        if (!same) continue;
        expect({ method, members: Object.keys(request).toSorted() }).toEqual({ method, members: Object.keys(same.request).toSorted() });
      }
    } finally {
      await peer.stop();
      expect(await engine.stop()).toEqual({});
      await theirs?.kill();
      await ours.kill();
      await registry.stop();
      rmSync(folder, { recursive: true, force: true });
    }
  }, 240_000);
});
