// PSS that 50 idle containers add: the shims and the daemons' growth, the containers' own processes not.
import { readFileSync, readdirSync } from 'node:fs';
import { row } from './report.mjs';

/** kB of the processes whose command line names the peer's folder or that the peer started as helpers. */
function pss(match) {
  let sum = 0;
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
      if (!match(command)) continue;
      sum += Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1] ?? 0);
    } catch {
      // gone meanwhile
    }
  }
  return sum;
}

export async function measure({ gantry, docker, both, folder }) {
  const matches = new Map([
    [gantry, (command) => command.includes(`${folder}/gantry`) && !command.startsWith('sleep')],
    [docker, (command) => (command.includes(`${folder}/docker`) || command.includes('containerd-shim')) && !command.startsWith('sleep')],
  ]);
  const added = new Map();
  const starts = new Map();
  for (const peer of both) {
    const ids = [];
    const before = pss(matches.get(peer));
    const began = performance.now();
    for (let i = 0; i < 50; i++) {
      const { Id: id } = JSON.parse(
        await peer.api('POST', '/containers/create', { Image: peer.image, Cmd: ['sleep', '1000'], HostConfig: { NetworkMode: 'none' } }),
      );
      await peer.api('POST', `/containers/${id}/start`);
      ids.push(id);
    }
    starts.set(peer, performance.now() - began);
    await new Promise((done) => setTimeout(done, 2000));
    added.set(peer, (pss(matches.get(peer)) - before) / 50 / 1024);
    for (const id of ids) await peer.api('DELETE', `/containers/${id}?force=1`);
  }
  row('PSS that one of 50 idle containers adds', 'MB', 1, added.get(gantry), { dockerd: added.get(docker) });
  row('start of 50 containers, one after the other, none', 'ms', 1, starts.get(gantry), { dockerd: starts.get(docker) });
}
