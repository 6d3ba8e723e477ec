// What a person waits for: the same docker CLI against both.
import { interleaved, median, row } from './report.mjs';

export async function measure({ gantry, docker }) {
  for (const network of ['bridge', 'none']) {
    const run = (peer) => () => void peer.docker('run', '--rm', '--network', network, peer.image, 'true');
    const times = await interleaved(15, { gantry: run(gantry), dockerd: run(docker) });
    row(`docker run --rm, ${network}`, 'ms', 15, median(times.gantry), { dockerd: median(times.dockerd) });
  }
}
