/** The words of the Docker plugin protocol for what a plugin implements. */
export type PluginKind = 'VolumeDriver' | 'NetworkDriver' | 'IpamDriver' | 'GraphDriver' | 'LogDriver' | 'authz' | 'MetricsCollector';

/** Files of a TLS client, as a `.json` specification names them. */
export interface PluginTls {
  readonly insecureSkipVerify: boolean;
  readonly caFile?: string;
  readonly certFile?: string;
  readonly keyFile?: string;
}

/** Where a plugin listens, and what is known of it without asking it. */
export interface PluginPlace {
  /** The word that users type. */
  readonly name: string;
  /** `unix:///path`, `tcp://host:port`, `http://…`, `https://…`. */
  readonly address: string;
  /** The file or the record that says so; for messages. */
  readonly source: string;
  readonly tls?: PluginTls;
  /** Known from a managed plugin's configuration, which is then never activated; absent for one that must be asked. */
  readonly kinds?: readonly string[];
  /** Where the host sees a path of the plugin's answer; absent when the plugin lives in the host's own file system. */
  hostPath?(path: string): string;
  /** A path of the host as the plugin sees it. */
  pluginPath?(path: string): string;
}

/**
 * Where plugins come from beside the folders of sockets and specifications. Origins are asked in order, before the folders, and
 * the first that knows a name decides.
 */
export interface PluginOrigin {
  /** For messages: "managed". */
  readonly label: string;
  /** `undefined` when the name is not known here. Throws for one that is known and cannot serve (disabled). Must be fast. */
  find(name: string): PluginPlace | undefined;
  /** All that could serve now; must be fast. */
  list(): readonly PluginPlace[];
}

export interface PluginCalls {
  /** `VolumeDriver.Create`. */
  readonly method: string;
  readonly count: number;
  readonly failures: number;
  readonly inFlight: number;
  /** Milliseconds over the last calls. */
  readonly p50: number;
  readonly p99: number;
}

/** What one plugin is and does, from memory: nobody is asked. */
export interface PluginStatus {
  readonly name: string;
  readonly address: string;
  readonly source: string;
  /** Empty until it was activated. */
  readonly kinds: readonly string[];
  /**
   * `found`: nobody needed it yet. `activating`: it was greeted and did not answer yet. `active`: the last call reached it.
   * `unavailable`: it cannot be reached or does not answer in time; the next call that is due tries again.
   */
  readonly state: 'found' | 'activating' | 'active' | 'unavailable';
  /** The last failure to reach it or to understand it; what it refused is not one. */
  readonly lastError?: { readonly at: string; readonly method: string; readonly message: string };
  readonly calls: readonly PluginCalls[];
  /** Volumes, networks and running containers that need it: `volume data`, `network web`, `container db`. */
  readonly holders: readonly string[];
}

/** One call as it went over the wire. */
export interface PluginCallRecord {
  readonly plugin: string;
  readonly method: string;
  /** RFC 3339. */
  readonly at: string;
  readonly ms: number;
  /** Parsed; absent for an empty body and for streams. */
  readonly request?: unknown;
  readonly response?: unknown;
  /** HTTP status; absent when no answer came. */
  readonly status?: number;
  readonly error?: string;
}

/** The plugins that this engine has met, as users and operators see them. Everything answers from memory. */
export interface PluginDirectory {
  list(): readonly PluginStatus[];
  status(name: string): PluginStatus | undefined;
  /** Every call to the plugin from now on, until the function that is given back is called. Without a listener nothing is kept. */
  trace(name: string, listener: (record: PluginCallRecord) => void): () => void;
}
