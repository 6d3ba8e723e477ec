const KiB = 1024;
const MiB = 1024 * KiB;

/** Bounds on what registries and archives may give. Over a bound is an error, never a truncation. */
export const limits = {
  /** Bytes of a manifest or index, from a registry or an archive. */
  manifestBytes: 4 * MiB,
  /** Bytes of an image configuration. */
  configBytes: 8 * MiB,
  /** Nesting of any JSON document. */
  jsonDepth: 64,
  /** Values in one JSON document: objects, arrays and scalars together. */
  jsonValues: 500_000,
  /** Layers of one image: more lower folders than this no overlay mount takes. */
  layers: 127,
  /** Entries of one index. */
  indexEntries: 1_000,
  /** Bytes of one layer blob as it is stored. */
  layerBytes: 256 * 1024 * MiB,
  /** Bytes of a token answer, an error answer or one page of tags. */
  tokenBytes: 1 * MiB,
  errorBytes: 64 * KiB,
  tagPageBytes: 8 * MiB,
  /** Pages and tags of one repository. */
  tagPages: 1_000,
  tags: 100_000,
  /** Redirects that one request follows. */
  redirects: 5,
  /** Bytes of one WWW-Authenticate header and challenges in it. */
  challengeBytes: 16 * KiB,
  challenges: 8,
  /** Milliseconds without a byte in either direction before a registry counts as stalled. */
  idleMs: 60_000,
  /** Entries of an image archive. */
  archiveEntries: 100_000,
  /** Bytes of a JSON file at the top of an image archive. */
  archiveIndexBytes: 4 * MiB,
  /** Characters of one Dockerfile instruction. */
  instruction: 64 * KiB,
} as const;
