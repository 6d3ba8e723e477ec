/** The embedded name server of one sandbox. */
export interface DnsServer {
  close(): Promise<void>;
}
