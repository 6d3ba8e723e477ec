import type { FastifyRequest } from 'fastify';
import type { Logger } from '../contracts/manifest.js';

/** What routes need beyond their service, the same for all. */
export interface ApiContext {
  readonly log: Logger;
  /** Names of the access plugins, in the order they are asked. */
  readonly accessPlugins: () => readonly string[];
  /** Asks the access plugins about an answer that leaves by another way than a plain reply; rejects when it is refused. */
  authorizeAnswer(request: FastifyRequest, statusCode: number): Promise<void>;
  /** Bytes written to a socket's descriptor that its peer has not taken yet; absent where nobody can tell. */
  readonly unsent?: (fd: number) => number;
  /** Streams that outlive their request, to be ended with the server. */
  readonly open: Set<{ destroy(): void }>;
}
