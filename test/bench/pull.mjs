// Pull of an image of 300 MB in 40,000 small files, from the registry on loopback.
import { mkdirSync, writeFileSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { makeImage } from '../../cli/setup/trial-image.mjs';
import { interleaved, median, row } from './report.mjs';

export async function measure({ gantry, docker, registry }) {
  const image = await makeImage({
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
  const ref = await registry.push('bench/files', 'latest', image);
  const pull = (peer) => () => {
    const began = performance.now();
    peer.docker('pull', '-q', ref);
    const took = performance.now() - began;
    peer.docker('rmi', ref);
    return took;
  };
  const times = await interleaved(3, { gantry: pull(gantry), dockerd: pull(docker) }, { warmUp: 0 });
  row(`pull of ${Math.round(image.tar.length / 1048576)} MB in 40,000 files`, 'ms', 3, median(times.gantry), {
    dockerd: median(times.dockerd),
  });
}
