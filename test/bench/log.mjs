// 128 MiB in lines of 100 bytes through the json-file log, and back.
import { interleaved, median, row } from './report.mjs';

const MIB = 128;

export async function measure({ gantry, docker }) {
  const reads = { gantry: [], dockerd: [] };
  const write = (peer) => async (round) => {
    const line = 'x'.repeat(99);
    const { Id: id } = JSON.parse(
      await peer.api('POST', '/containers/create', {
        Image: peer.image,
        // The lines are made once and then only copied: a pipe from `yes` is slower than the log that is measured.
        Cmd: ['sh', '-c', `yes ${line} | head -c ${1 << 20} > /lines; i=0; while [ $i -lt ${MIB} ]; do cat /lines; i=$((i+1)); done`],
        HostConfig: { NetworkMode: 'none' },
      }),
    );
    const began = performance.now();
    await peer.api('POST', `/containers/${id}/start`);
    await peer.api('POST', `/containers/${id}/wait`);
    const took = performance.now() - began;
    const reading = performance.now();
    const back = await peer.api('GET', `/containers/${id}/logs?stdout=1`);
    if (back.length < MIB << 20) throw new Error(`${peer.name} gave back ${back.length} bytes`);
    if (round >= 0) reads[peer.name].push((back.length / 1048576 / (performance.now() - reading)) * 1000);
    await peer.api('DELETE', `/containers/${id}?force=1`);
    return (MIB / took) * 1000;
  };
  const times = await interleaved(3, { gantry: write(gantry), dockerd: write(docker) }, { warmUp: 0 });
  row('log write, lines of 100 bytes (more is better)', 'MB/s', 3, median(times.gantry), { dockerd: median(times.dockerd) });
  row('log read back (more is better)', 'MB/s', 3, median(reads.gantry), { dockerd: median(reads.dockerd) });
}
