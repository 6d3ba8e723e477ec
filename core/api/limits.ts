/** How much of a client's input is taken, in one place. Past a limit is an error, never a cut. */
export const limits = {
  /** Bytes of a JSON request body; also the most that an access plugin is shown. */
  jsonBody: 4 * 1024 * 1024,
  /** Objects and lists within each other in a JSON text. */
  jsonDepth: 64,
  /** Bytes of a request's head: X-Registry-Config of a client with many registries is long. */
  head: 256 * 1024,
  /** Bytes of one path parameter: image names carry registry, path and digest. */
  parameter: 4096,
  /** Bytes of the `filters` query value. */
  filters: 256 * 1024,
  /** Bytes of a decoded X-Registry-Auth. */
  registryAuth: 64 * 1024,
  /** Bytes of progress that wait for a slow client before intermediate figures are left out. */
  progressBacklog: 256 * 1024,
  /** Bytes of one websocket message from a client. */
  websocketMessage: 1024 * 1024,
  /** Milliseconds for a client to send the head of a request. */
  headersTimeout: 60_000,
  /** Milliseconds that an idle connection is kept. Clients reuse connections without asking, and one that is closed under a request in flight shows as EOF. */
  keepAliveTimeout: 30 * 60_000,
  /** Milliseconds that requests at work get to be answered when the server closes. */
  closeGrace: 5_000,
  /** Milliseconds at most that the first stream bytes wait for the client to have read the answer's head. */
  headDrain: 250,
  /** Milliseconds that they wait where nobody can tell whether it has: over TCP, which acknowledges what nobody has read yet. */
  headPause: 10,
  /** Bytes of a refused request's body that are read before the answer; more than that, and the connection is cut. */
  droppedBody: 64 * 1024 * 1024,
} as const;
