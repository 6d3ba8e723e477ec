import { execFile } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { promisify } from 'node:util';
import { host } from '@gantry/native/index.js';

const run = promisify(execFile);

/** Runs a program in a namespace, '' for the test's own; its output, or throws. */
export async function inside(namespace: string, program: string, ...args: string[]): Promise<string> {
  const [file, ...rest] = namespace === '' ? [program, ...args] : ['nsenter', `--net=${namespace}`, '--', program, ...args];
  const { stdout } = await run(file as string, rest, { encoding: 'utf8', timeout: 90_000 });
  return stdout;
}

/** Seconds to wait for what is to stay unreachable; what is to answer has longer, on a busy machine. */
export const BRIEFLY = 1;
const PATIENTLY = 30;

/** What a TCP server says at once, or the word `nothing` when it is not reached in time. */
export async function reach(namespace: string, address: string, port: number, seconds = PATIENTLY): Promise<string> {
  try {
    return (await inside(namespace, 'timeout', String(seconds), 'bash', '-c', `exec 3<>/dev/tcp/${address}/${port} && cat <&3`)).trim();
  } catch {
    return 'nothing';
  }
}

/** The same for a UDP server, which answers to any datagram. */
export async function reachUdp(namespace: string, address: string, port: number, seconds = PATIENTLY): Promise<string> {
  try {
    const script = `exec 3<>/dev/udp/${address}/${port} && echo hello >&3 && timeout ${seconds} head -n 1 <&3`;
    return (await inside(namespace, 'bash', '-c', script)).trim() || 'nothing';
  } catch {
    return 'nothing';
  }
}

/** A TCP server in a namespace that says its name and the address of whoever comes. */
export async function serve(namespace: string, address: string, port: number, name: string): Promise<() => void> {
  const { fd } = await host.net.openSocket(namespace, 'tcp', address, port);
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.end(`${name} ${socket.remoteAddress ?? ''}\n`);
  });
  server.listen({ fd });
  await once(server, 'listening');
  return () => server.close();
}

export async function serveUdp(namespace: string, address: string, port: number, name: string): Promise<() => void> {
  const { fd } = await host.net.openSocket(namespace, 'udp', address, port);
  const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
  socket.on('message', (_, from) => socket.send(`${name} ${from.address}\n`, from.port, from.address));
  socket.bind({ fd });
  return () => socket.close();
}

/** Asks the embedded name server of a sandbox; the error's code when it has no answer. */
export async function ask(namespace: string, name: string, type = 'A', server = '127.0.0.11'): Promise<string> {
  const script = `const r = new (require('node:dns').Resolver)({ timeout: 1500, tries: 1 }); r.setServers(['${server}']);
    r.resolve('${name}', '${type}', (e, a) => console.log(e ? e.code : [].concat(a).toSorted().join(',')));`;
  return (await inside(namespace, process.execPath, '-e', script)).trim();
}

/** Everything in the test's own namespace that an engine could leave behind. */
export async function kernelState(): Promise<string> {
  const links = (await host.net.links('')).map(({ name, alias, addresses }) => `link ${name} ${alias} ${addresses.join(' ')}`);
  const routes = (await host.net.routes('')).map(({ destination, gateway, link }) => `route ${destination} ${gateway} ${link}`);
  const rules = await inside('', 'nft', 'list', 'ruleset');
  return [...links.toSorted(), ...routes.toSorted(), rules].join('\n');
}

/** Waits for what the kernel does in the background. */
export async function eventually(check: () => Promise<boolean>, what: string): Promise<void> {
  for (const until = performance.now() + 60_000; performance.now() < until;) {
    if (await check()) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`did not happen in time: ${what}`);
}
