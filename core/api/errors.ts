import type { FastifyError, FastifyInstance } from 'fastify';
import { EngineError, kindOf, messageOf, type ErrorKind } from '../contracts/errors.js';
import type { Logger } from '../contracts/manifest.js';

/** Docker's status for each kind. Clients branch on the number. */
export const statusOf: Readonly<Record<ErrorKind, number>> = {
  'invalid-parameter': 400,
  unauthorized: 401,
  forbidden: 403,
  'not-found': 404,
  conflict: 409,
  'not-modified': 304,
  'not-implemented': 501,
  unavailable: 503,
  cancelled: 500,
  system: 500,
};

/** The status of anything thrown: the engine's errors by their kind, fastify's own (a body too large) by theirs. */
export function statusFor(error: unknown): number {
  if (error instanceof EngineError) return statusOf[kindOf(error)];
  const status = (error as Partial<FastifyError>).statusCode;
  return status !== undefined && status >= 400 && status < 500 ? 400 : 500;
}

/** One mapper for every route. `Content-Type` is `application/json` to the letter: the Go client compares before it parses. */
export function mapErrors(app: FastifyInstance, log: Logger): void {
  app.setErrorHandler((error, request, reply) => {
    const status = statusFor(error);
    if (status === 304) return reply.code(304).send();
    if (status === 500)
      log.error('request failed', {
        method: request.method,
        url: request.url,
        error: messageOf(error),
        stack: error instanceof Error ? error.stack : undefined,
      });
    return reply.code(status).send({ message: messageOf(error) });
  });
  app.setNotFoundHandler((_request, reply) => reply.code(404).send({ message: 'page not found' }));
}
