// Create, start, wait, delete by the API.
import { interleaved, median, quantile, row } from './report.mjs';

export async function measure({ gantry, docker }) {
  for (const network of ['none', 'bridge']) {
    const phases = { create: {}, start: {}, wait: {}, delete: {} };
    const cycle = (peer) => async (round) => {
      const note = (phase, began) => {
        if (round >= 0) (phases[phase][peer.name] ??= []).push(performance.now() - began);
      };
      let began = performance.now();
      const { Id: id } = JSON.parse(
        await peer.api('POST', '/containers/create', { Image: peer.image, Cmd: ['true'], HostConfig: { NetworkMode: network } }),
      );
      note('create', began);
      began = performance.now();
      await peer.api('POST', `/containers/${id}/start`);
      note('start', began);
      began = performance.now();
      await peer.api('POST', `/containers/${id}/wait`);
      note('wait', began);
      began = performance.now();
      await peer.api('DELETE', `/containers/${id}`);
      note('delete', began);
    };
    const times = await interleaved(30, { gantry: cycle(gantry), dockerd: cycle(docker) }, { warmUp: 2 });
    row(`create+start+wait+delete, ${network}, p50`, 'ms', 30, median(times.gantry), { dockerd: median(times.dockerd) });
    row(`create+start+wait+delete, ${network}, p99`, 'ms', 30, quantile(times.gantry, 0.99), { dockerd: quantile(times.dockerd, 0.99) });
    for (const [phase, of] of Object.entries(phases))
      row(`  ${phase}, ${network}, p50`, 'ms', 30, median(of.gantry), { dockerd: median(of.dockerd) });
  }
}
