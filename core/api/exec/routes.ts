import type { FastifyInstance } from 'fastify';
import type { ExecView } from '../../container/execs.js';
import { invalid } from '../../contracts/errors.js';
import type { ApiContext } from '../context.js';
import { serveHijacked } from '../hijack.js';
import { Query } from '../query.js';
import type { Services } from '../services.js';
import { create, start, type ExecCreateBody, type ExecStartBody } from './schema.js';

/** Height and width; what has another length is not a size. */
function consoleSizeOf(given: number[] | null | undefined, version: number): readonly [number, number] | undefined {
  const [rows, columns] = given ?? [];
  if (version < 42 || rows === undefined || columns === undefined || (rows === 0 && columns === 0)) return undefined;
  return [rows, columns];
}

function execJson(view: ExecView): object {
  const { request } = view;
  const [entrypoint = '', ...rest] = request.cmd;
  return {
    ID: view.id,
    Running: view.running,
    ExitCode: view.exitCode ?? null,
    ProcessConfig: {
      tty: request.tty,
      entrypoint,
      arguments: rest,
      privileged: request.privileged,
      ...(request.user ? { user: request.user } : {}),
    },
    OpenStdin: request.attachStdin,
    OpenStderr: request.attachStderr,
    OpenStdout: request.attachStdout,
    CanRemove: view.canRemove,
    ContainerID: view.containerId,
    DetachKeys: '',
    Pid: view.pid,
  };
}

export function execRoutes(app: FastifyInstance, services: Services, context: ApiContext): void {
  const { execs } = services;

  app.post<{ Params: { name: string }; Body: ExecCreateBody }>('/containers/:name/exec', { schema: create }, async (request, reply) => {
    const body = request.body;
    const cmd = typeof body.Cmd === 'string' ? [body.Cmd] : (body.Cmd ?? []);
    if (cmd.length === 0) throw invalid('No exec command specified');
    const id = await execs.create(request.params.name, {
      attachStdin: body.AttachStdin ?? false,
      attachStdout: body.AttachStdout ?? false,
      attachStderr: body.AttachStderr ?? false,
      tty: body.Tty ?? false,
      detachKeys: body.DetachKeys ?? '',
      env: body.Env ?? [],
      workingDir: body.WorkingDir ?? '',
      user: body.User ?? '',
      privileged: body.Privileged ?? false,
      cmd,
      consoleSize: consoleSizeOf(body.ConsoleSize, request.apiVersion),
    });
    return reply.code(201).send({ Id: id });
  });

  app.post<{ Params: { id: string }; Body: ExecStartBody }>('/exec/:id/start', { schema: start }, async (request, reply) => {
    const { id } = request.params;
    const view = execs.inspect(id);
    const detach = request.body.Detach ?? false;
    const consoleSize = consoleSizeOf(request.body.ConsoleSize, request.apiVersion);
    const options = { detach, tty: request.body.Tty ?? false, ...(consoleSize ? { consoleSize } : {}) };
    await serveHijacked(context, reply, { stdin: !detach && view.request.attachStdin }, (open) => execs.start(id, options, open));
    if (!reply.sent) return reply.code(200).send();
  });

  app.post<{ Params: { id: string } }>('/exec/:id/resize', async (request, reply) => {
    const query = new Query(request);
    await execs.resize(request.params.id, query.uint32('h'), query.uint32('w'));
    return reply.code(200).send();
  });

  app.get<{ Params: { id: string } }>('/exec/:id/json', (request) => execJson(execs.inspect(request.params.id)));
}
