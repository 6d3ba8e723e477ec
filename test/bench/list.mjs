// GET /containers/json with 100 created containers.
import { interleaved, median, row } from './report.mjs';

export async function measure({ gantry, docker, both }) {
  const ids = new Map();
  for (const peer of both) {
    const made = [];
    for (let i = 0; i < 100; i++)
      made.push(
        JSON.parse(await peer.api('POST', '/containers/create', { Image: peer.image, Cmd: ['true'], Labels: { number: String(i) } })).Id,
      );
    ids.set(peer, made);
  }
  const list = (peer) => async () => void (await peer.api('GET', '/containers/json?all=1'));
  const times = await interleaved(100, { gantry: list(gantry), dockerd: list(docker) }, { warmUp: 10 });
  row('list of 100 containers', 'ms', 100, median(times.gantry), { dockerd: median(times.dockerd) });
  for (const peer of both) for (const id of ids.get(peer)) await peer.api('DELETE', `/containers/${id}`);
}
