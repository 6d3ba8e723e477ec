/** Who needs a layer: an image, a container, or an operation that is under way. */
export interface HolderAnswer {
  Kind: 'image' | 'container' | 'operation';
  Id: string;
  Name: string;
}

/** A layer as it is unpacked for one driver. */
export interface UnpackedAnswer {
  Driver: string;
  ChainId: string;
  DiffId: string;
  Blob: string;
  Snapshot: string;
  Size: number;
  UsedBy: HolderAnswer[];
}

/** One layer of an image, bottom first. `BlobSize` is null when the blob is not here. */
export interface LayerAnswer {
  ChainId: string;
  DiffId: string;
  Blob: string;
  BlobSize: number | null;
  Places: UnpackedAnswer[];
}

export interface DriverUseAnswer {
  Name: string;
  Default: boolean;
  /** Why it cannot serve here; '' when it can. */
  Unavailable: string;
  Layers: number;
  LayersSize: number;
  Containers: number;
  ContainersSize: number;
  Orphans: number;
  OrphansSize: number;
}

export interface StorageAnswer {
  Drivers: DriverUseAnswer[];
  BlobsSize: number;
  LogsSize: number;
}

export interface DriverAnswer extends DriverUseAnswer {
  ChosenBecause: string;
  Status: [string, string][];
  UnpackedLayers: UnpackedAnswer[];
  /** `Quota` is null without a limit, `Size` -1 when the driver cannot tell. */
  ContainerFiles: { Id: string; Name: string; Status: string; Size: number; Quota: number | null }[];
  OrphanSnapshots: { Snapshot: string; Size: number }[];
}

/** One line of a migration's answer; the last one may be `{"error": "…"}` instead. */
export interface MigrationStepAnswer {
  Kind: 'image' | 'container';
  Id: string;
  Name: string;
  Outcome: 'moved' | 'skipped' | 'failed';
  Reason: string;
  Digest: string;
  Size: number;
}

export interface FindingAnswer {
  Area: string;
  Subject: string;
  Problem: string;
  Remedy: string;
  State: 'found' | 'repaired' | 'failed';
  Error: string;
}
