// 128 MiB in lines of 100 bytes through the json-file log, and back.
import { spawnSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { interleaved, median, row } from './report.mjs';

const MIB = 128;

/** By curl, since a client in Node would measure itself. */
function readBack(peer, path) {
  const { stdout } = spawnSync(
    'curl',
    ['-s', '-o', '/dev/null', '-w', '%{size_download} %{time_total}', '--unix-socket', peer.socket, `http://engine/v1.41${path}`],
    { encoding: 'utf8' },
  );
  const [bytes, seconds] = stdout.split(' ').map(Number);
  return { bytes, seconds };
}

export async function measure({ gantry, docker }) {
  const folder = mkdtempSync('/var/tmp/gantry-bench-log-');
  const lines = join(folder, 'lines');
  // The lines lie ready, so that the program only copies: making them takes longer than logging them.
  const fd = openSync(lines, 'w');
  const block = Buffer.from(`${'x'.repeat(99)}\n`.repeat(Math.ceil((1 << 20) / 100))).subarray(0, 1 << 20);
  for (let i = 0; i < MIB; ++i) writeSync(fd, block);
  closeSync(fd);
  const reads = { gantry: [], dockerd: [] };
  const write = (peer) => async (round) => {
    const { Id: id } = JSON.parse(
      await peer.api('POST', '/containers/create', {
        Image: peer.image,
        Cmd: ['cat', '/lines'],
        HostConfig: { NetworkMode: 'none', Binds: [`${lines}:/lines:ro`] },
      }),
    );
    // What earlier work left to be written does not fall on this one.
    spawnSync('sync');
    const began = performance.now();
    await peer.api('POST', `/containers/${id}/start`);
    await peer.api('POST', `/containers/${id}/wait`);
    const took = performance.now() - began;
    const { bytes, seconds } = readBack(peer, `/containers/${id}/logs?stdout=1`);
    if (bytes < MIB << 20) throw new Error(`${peer.name} gave back ${bytes} bytes`);
    if (round >= 0) reads[peer.name].push(bytes / 1048576 / seconds);
    await peer.api('DELETE', `/containers/${id}?force=1`);
    return (MIB / took) * 1000;
  };
  try {
    const times = await interleaved(5, { gantry: write(gantry), dockerd: write(docker) }, { warmUp: 0 });
    row('log write, lines of 100 bytes, start to exit (more is better)', 'MB/s', 5, median(times.gantry), {
      dockerd: median(times.dockerd),
    });
    row('log read back (more is better)', 'MB/s', 5, median(reads.gantry), { dockerd: median(reads.dockerd) });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
