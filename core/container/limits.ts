/** Bounds on what a container's files and outputs may make the daemon hold. */
export const LIMITS = {
  /** An /etc/passwd or /etc/group of an image. */
  passwdBytes: 4 << 20,
  /** Output of one health probe that is kept. */
  healthOutputBytes: 4096,
  /** Results of health probes that are kept. */
  healthLogEntries: 5,
  /** What the host's ps may print. */
  psBytes: 16 << 20,
  /** Exec records that are kept on one container after they ended. */
  endedExecs: 1000,
} as const;
