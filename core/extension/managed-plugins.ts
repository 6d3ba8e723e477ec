/** A plugin that the engine itself runs, as those see it who call it. */
export interface ManagedPlugin {
  /** 64 hex digits. */
  readonly id: string;
  /** Familiar form, always with a tag: `org/plugin:latest`. */
  readonly name: string;
  /** Only then is there a process behind the socket. */
  readonly enabled: boolean;
  /** What it says that it serves, without prefix and version: `volumedriver`, `networkdriver`, `authz` … */
  readonly types: readonly string[];
  /** Its socket on the host. */
  readonly socket: string;
  /** False when something else than Docker's plugin protocol is spoken there (CSI): nobody here can call it. */
  readonly speaksHttp: boolean;
  /** Limit for one call as asked for at enable; 0 for the caller's own. */
  readonly timeoutMs: number;
  /** Where on the host a path is that the plugin names in an answer: below its propagated mount, or in its root file system. */
  hostPath(path: string): string;
}

/**
 * The plugins that the engine runs. Who looks for a plugin by name asks here first; one that is found and disabled is an error
 * of its own, and no socket or spec file of that name is looked for then. All answers are from memory.
 */
export interface ManagedPlugins {
  /** By id, by name with or without tag, by the beginning of an id when it is one plugin's alone. */
  find(name: string): ManagedPlugin | undefined;
  list(): readonly ManagedPlugin[];
  /** Tells of each plugin whose process was started, or is about to be ended: connections and what was learnt of it are void. */
  onChange(listener: (plugin: ManagedPlugin) => void): void;
}
