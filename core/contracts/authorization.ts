/** The contract for access plugins: each is asked about every request, in order, and again before its answer goes out. */
export interface AccessRequest {
  /** From the TLS client certificate's common name, or `uid:N` for a peer on a unix socket. */
  readonly user: string;
  readonly authenticationMethod: string;
  readonly method: string;
  readonly uri: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Buffer;
}

export interface AccessAnswer extends AccessRequest {
  readonly statusCode: number;
}

export type AccessDecision = { readonly allow: true } | { readonly allow: false; readonly reason: string };

export interface AuthorizationPlugin {
  readonly name: string;
  authorizeRequest(request: AccessRequest): Promise<AccessDecision>;
  authorizeResponse(answer: AccessAnswer): Promise<AccessDecision>;
}
