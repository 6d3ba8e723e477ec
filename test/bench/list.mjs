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
  // A client that keeps its connection and asks again as soon as it was answered, 100 times in each round.
  const inARow = (peer, path) => async () => {
    const times = [];
    for (let i = 0; i < 100; i++) {
      const began = performance.now();
      await peer.api('GET', path);
      times.push(performance.now() - began);
    }
    return median(times);
  };
  for (const [name, path] of [
    ['list of 100 containers', '/containers/json?all=1'],
    ['— an answer of nothing, for comparison', '/_ping'],
  ]) {
    const times = await interleaved(7, { gantry: inARow(gantry, path), dockerd: inARow(docker, path) }, { warmUp: 1 });
    row(`${name}, p50`, 'ms', 700, median(times.gantry), { dockerd: median(times.dockerd) });
  }
  for (const peer of both) for (const id of ids.get(peer)) await peer.api('DELETE', `/containers/${id}`);
}
