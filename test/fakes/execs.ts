import { EngineError } from '@gantry/core/contracts/errors.js';
import { newId } from '@gantry/core/contracts/ids.js';
import type { CreateExec, Execs, ExecView } from '@gantry/core/container/execs.js';
import type { FakeContainers } from './containers.js';

/** Execs that give back their input, or print their command. */
export class FakeExecs implements Execs {
  readonly views = new Map<string, ExecView>();
  readonly calls: [string, ...unknown[]][] = [];
  failStart: Error | undefined;

  constructor(private readonly containers: FakeContainers) {}

  async create(name: string, request: CreateExec): Promise<string> {
    this.calls.push(['create', name, request]);
    const id = newId();
    const containerId = this.containers.find(name).id;
    this.views.set(id, { id, containerId, running: false, exitCode: undefined, pid: 0, request, canRemove: false });
    return id;
  }

  inspect(id: string): ExecView {
    const view = this.views.get(id);
    if (!view) throw new EngineError('not-found', `No such exec instance: ${id}`);
    return view;
  }

  async start(...[id, options, open]: Parameters<Execs['start']>): Promise<void> {
    this.calls.push(['start', id, options]);
    const view = this.inspect(id);
    if (options.detach) return;
    const client = await open({ tty: view.request.tty });
    if (this.failStart) throw this.failStart;
    if (view.request.cmd[0] === 'cat' && client.input) {
      for await (const chunk of client.input) await client.write('stdout', chunk);
      await client.write('stdout', Buffer.from('bye\n'));
    } else {
      await client.write('stdout', Buffer.from(`${view.request.cmd.join(' ')}\n`));
    }
    this.views.set(id, { ...view, exitCode: 7 });
  }

  async resize(id: string, rows: number, columns: number): Promise<void> {
    this.calls.push(['resize', id, rows, columns]);
  }
}
