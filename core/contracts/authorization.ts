/** The contract for access plugins: each is asked about every request, in order, and again before its answer goes out. */
export interface AccessRequest {
  /** From the TLS client certificate's common name, or `uid:N` for a peer on a unix socket. */
  readonly user: string;
  readonly authenticationMethod: string;
  /** PEM, the client's own first; empty without TLS. */
  readonly peerCertificates?: readonly string[];
  readonly method: string;
  /** The path of the route that will run, in one spelling whatever the client wrote, with its version and query. */
  readonly uri: string;
  readonly headers: Readonly<Record<string, string>>;
  /** JSON as the handler gets it, whole; absent when there is none, and for archives and streams. */
  readonly body?: Buffer;
}

export interface AccessAnswer extends AccessRequest {
  readonly statusCode: number;
  readonly responseHeaders?: Readonly<Record<string, string>>;
  /** Absent for streams and archives. */
  readonly responseBody?: Buffer;
}

export type AccessDecision = { readonly allow: true } | { readonly allow: false; readonly reason: string };

export interface AuthorizationPlugin {
  readonly name: string;
  authorizeRequest(request: AccessRequest): Promise<AccessDecision>;
  authorizeResponse(answer: AccessAnswer): Promise<AccessDecision>;
}
