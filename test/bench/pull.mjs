// Pull of an image of 300 MB in 40,000 small files, from the registry on loopback.
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { makeImage } from '../../cli/setup/trial-image.mjs';
import { interleaved, median, row } from './report.mjs';

/** One image for each round, all removed at the end: making files on ext4 was seen to cost up to eight times as much soon after many were removed. */
const ROUNDS = 3;

const manyFiles = () =>
  makeImage({
    extend(rootfs) {
      // Half of each file is noise, so that it compresses about as program files do.
      for (let folder = 0; folder < 400; folder++) {
        const path = join(rootfs, 'data', String(folder));
        mkdirSync(path, { recursive: true });
        for (let file = 0; file < 100; file++)
          writeFileSync(join(path, `${file}.bin`), Buffer.concat([randomBytes(3750), Buffer.alloc(3750, folder)]));
      }
    },
  });

export async function measure({ gantry, docker, registry }) {
  const refs = [];
  let size = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const image = await manyFiles();
    size = image.tar.length;
    refs.push(await registry.push('bench/files', `round${round}`, image));
  }
  const pull = (peer) => {
    const left = [...refs];
    return () => {
      const ref = left.shift();
      // What earlier work left to be written does not fall on this one.
      spawnSync('sync');
      const began = performance.now();
      peer.docker('pull', '-q', ref);
      return performance.now() - began;
    };
  };
  const times = await interleaved(ROUNDS, { gantry: pull(gantry), dockerd: pull(docker) }, { warmUp: 0 });
  for (const peer of [gantry, docker]) peer.docker('rmi', ...refs);
  row(`pull of ${Math.round(size / 1048576)} MB in 40,000 files`, 'ms', ROUNDS, median(times.gantry), {
    dockerd: median(times.dockerd),
  });
}
