// Each storage driver beside dockerd with the same one, each pair on a file system of its own in a loop file: layers made and removed,
// differences, commits, a pull of small files, and a container. GANTRY_BENCH_DRIVERS names the drivers (all by default).
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { createReadStream, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { imageOf, tarOf } from './archive.mjs';
import { measureReady } from './layer-ready.mjs';
import { openPeers } from './peers.mjs';
import { interleaved, median, quantile, row } from './report.mjs';

const FILE_SYSTEMS = { overlay2: 'ext4', btrfs: 'btrfs', vfs: 'ext4' };

const FULL = { layers: 96, runs: 10, files: 200_000, diffs: 3, commits: 2, small: 50_000, pulls: 3 };
const QUICK = { layers: 48, runs: 6, files: 40_000, diffs: 3, commits: 2, small: 20_000, pulls: 2 };

const count = (number) => number.toLocaleString('en');

const must = (command, ...args) => {
  const { status, stderr, stdout } = spawnSync(command, args, { encoding: 'utf8', maxBuffer: 1 << 28 });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${status}: ${stderr}`);
  return stdout;
};

const timed = (work) => {
  const began = performance.now();
  work();
  return performance.now() - began;
};

/** A new file system in a sparse file. */
function openVolume(type) {
  const folder = mkdtempSync('/var/tmp/gantry-bench-volume-');
  const image = join(folder, 'image');
  const path = join(folder, 'mounted');
  mkdirSync(path);
  must('truncate', '-s', '24G', image);
  // vfs has a copy of every file for every layer. Tables that are written out in the background would be measured too.
  const [format, options] = type === 'ext4' ? [['-N', '4000000'], 'loop,noinit_itable'] : [[], 'loop'];
  must(`mkfs.${type}`, '-q', ...format, image);
  must('mount', '-o', options, image, path);
  return {
    path,
    close() {
      must('umount', path);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Sends an archive as a request's body. */
const send = (peer, method, path, file) =>
  new Promise((done, fail) => {
    const call = request(
      { socketPath: peer.socket, method, path: `/v1.41${path}`, headers: { 'content-type': 'application/x-tar' } },
      (answer) => {
        const chunks = [];
        answer.on('data', (chunk) => chunks.push(chunk));
        answer.on('end', () => {
          const text = Buffer.concat(chunks).toString();
          if (answer.statusCode >= 400) fail(new Error(`${peer.name}: ${method} ${path}: ${answer.statusCode} ${text}`));
          else done(text);
        });
      },
    );
    call.on('error', fail);
    createReadStream(file).pipe(call);
  });

const create = async (peer, image) => JSON.parse(await peer.api('POST', '/containers/create', { Image: image, Cmd: ['true'] })).Id;

/** Made, mounted for a look at `/`, unmounted, removed. */
async function oneLayer(peer) {
  const id = await create(peer, peer.image);
  await peer.api('HEAD', `/containers/${id}/archive?path=/`);
  await peer.api('DELETE', `/containers/${id}`);
}

async function layers(name, { gantry, docker }, { layers: wanted }) {
  for (const width of [1, 16]) {
    const samples = { gantry: [], dockerd: [] };
    const rounds = Math.ceil(wanted / width);
    const work = (peer) => (round) =>
      Promise.all(
        Array.from({ length: width }, async () => {
          const began = performance.now();
          await oneLayer(peer);
          if (round >= 0) samples[peer.name].push(performance.now() - began);
        }),
      ).then(() => undefined);
    await interleaved(rounds, { gantry: work(gantry), dockerd: work(docker) });
    for (const [word, q] of [
      ['p50', 0.5],
      ['p99', 0.99],
    ])
      row(
        `${name}: container created, mounted, unmounted, removed, ${width} at once, ${word}`,
        'ms',
        samples.gantry.length,
        quantile(samples.gantry, q),
        {
          dockerd: quantile(samples.dockerd, q),
        },
      );
  }
}

/** Archives of files, 1,000 in each folder, and of each tenth of them changed. */
function manyFiles({ files }) {
  const folder = mkdtempSync('/var/tmp/gantry-bench-files-');
  const paths = Array.from({ length: files }, (_, at) => `d${Math.floor(at / 1000)}/f${at % 1000}`);
  const write = (name, chosen, word) => {
    const file = join(folder, name);
    writeFileSync(file, tarOf(chosen.map((path) => [path, Buffer.from(`${word} ${path}\n`)])));
    return file;
  };
  return {
    all: write('all.tar', paths, 'file'),
    some: write(
      'some.tar',
      paths.filter((_, at) => at % 10 === 0),
      'changed',
    ),
    close: () => rmSync(folder, { recursive: true }),
  };
}

async function differences(name, { gantry, docker }, archives, { files, diffs, commits }) {
  const changed = files / 10;
  const ids = new Map();
  for (const peer of [gantry, docker]) {
    await send(peer, 'POST', '/images/create?fromSrc=-&repo=bench-many&tag=latest', archives.all);
    const id = await create(peer, 'bench-many:latest');
    await send(peer, 'PUT', `/containers/${id}/archive?path=/`, archives.some);
    ids.set(peer, id);
  }
  const changes = (peer) => async () => {
    const found = JSON.parse(await peer.api('GET', `/containers/${ids.get(peer)}/changes`));
    if (found.length < changed) throw new Error(`${peer.name} found ${found.length} changes`);
  };
  const seen = await interleaved(diffs, { gantry: changes(gantry), dockerd: changes(docker) });
  row(`${name}: diff of ${count(changed)} changed files among ${count(files)}`, 'ms', diffs, median(seen.gantry), {
    dockerd: median(seen.dockerd),
  });
  const commit = (peer) => async () => void (await peer.api('POST', `/commit?container=${ids.get(peer)}&repo=bench-commit`));
  const made = await interleaved(commits, { gantry: commit(gantry), dockerd: commit(docker) }, { warmUp: 0 });
  row(`${name}: commit of them`, 'ms', commits, median(made.gantry), { dockerd: median(made.dockerd) });
}

/** An image of files of 4 kB; half of each is noise. */
function smallFiles({ small }) {
  const noise = randomBytes(2048 * small);
  const files = Array.from({ length: small }, (_, at) => [
    `data/${Math.floor(at / 100)}/${at % 100}.bin`,
    Buffer.concat([noise.subarray(at * 2048, (at + 1) * 2048), Buffer.alloc(2048, at)]),
  ]);
  return imageOf(tarOf(files));
}

async function pulls(name, { gantry, docker, registry }, volume, images, { small }) {
  const refs = [];
  for (const [round, image] of images.entries()) refs.push(await registry.push('bench/small', `round${round}`, image));
  const scratch = join(volume, 'scratch');
  mkdirSync(scratch);
  for (const [round, image] of images.entries()) {
    writeFileSync(join(scratch, `${round}.tar.gz`), image.layer);
    writeFileSync(join(scratch, `${round}.tar`), image.tar);
  }
  // What earlier work left to be written does not fall on this one.
  const settled = (work) => (round) => {
    must('sync');
    return timed(() => work(round));
  };
  const times = await interleaved(
    images.length,
    {
      gantry: settled((round) => gantry.docker('pull', '-q', refs[round])),
      dockerd: settled((round) => docker.docker('pull', '-q', refs[round])),
      inflate: settled((round) => must('sh', '-c', `gzip -dc ${join(scratch, `${round}.tar.gz`)} >/dev/null`)),
      tar: settled((round) => {
        mkdirSync(join(scratch, String(round)));
        must('tar', '-C', join(scratch, String(round)), '-xf', join(scratch, `${round}.tar`));
      }),
    },
    { warmUp: 0 },
  );
  row(
    `${name}: pull of ${count(small)} files, ${Math.round(images[0].tar.length / 1048576)} MB`,
    'ms',
    images.length,
    median(times.gantry),
    {
      dockerd: median(times.dockerd),
      'gzip -dc': median(times.inflate),
      'tar -x': median(times.tar),
    },
  );
}

async function runs(name, { gantry, docker }, { runs: wanted }) {
  const run = (peer) => () => void peer.docker('run', '--rm', '--network', 'none', peer.image, 'true');
  const times = await interleaved(wanted, { gantry: run(gantry), dockerd: run(docker) });
  row(`${name}: docker run --rm, none`, 'ms', wanted, median(times.gantry), { dockerd: median(times.dockerd) });
}

/** `quick` takes fewer of everything, for a look. */
export async function measure({ quick }) {
  const sizes = quick ? QUICK : FULL;
  const chosen = process.env.GANTRY_BENCH_DRIVERS?.split(',') ?? Object.keys(FILE_SYSTEMS);
  const archives = manyFiles(sizes);
  const images = Array.from({ length: sizes.pulls }, () => smallFiles(sizes));
  try {
    for (const name of chosen) {
      const volume = openVolume(FILE_SYSTEMS[name]);
      try {
        await measureReady(name, volume.path);
        const peers = await openPeers({ storageDriver: name, parent: volume.path });
        try {
          await layers(name, peers, sizes);
          await runs(name, peers, sizes);
          await pulls(name, peers, volume.path, images, sizes);
          await differences(name, peers, archives, sizes);
        } finally {
          await peers.close();
        }
      } finally {
        volume.close();
      }
    }
  } finally {
    archives.close();
  }
}
