import type { Finding } from '../../state/examination.js';
import type { DriverDetails, DriverUse, ImageLayer, MigrationStep, StorageUse, UnpackedLayer } from '../../storage/storage.js';
import type {
  DriverAnswer,
  DriverUseAnswer,
  FindingAnswer,
  LayerAnswer,
  MigrationStepAnswer,
  StorageAnswer,
  UnpackedAnswer,
} from './schema.js';

const useJson = (use: DriverUse): DriverUseAnswer => ({
  Name: use.name,
  Default: use.isDefault,
  Unavailable: use.unavailable,
  Layers: use.layers,
  LayersSize: use.layersSize,
  Containers: use.containers,
  ContainersSize: use.containersSize,
  Orphans: use.orphans,
  OrphansSize: use.orphansSize,
});

const unpackedJson = (layer: UnpackedLayer): UnpackedAnswer => ({
  Driver: layer.driver,
  ChainId: layer.chainId,
  DiffId: layer.diffId,
  Blob: layer.blob,
  Snapshot: layer.snapshot,
  Size: layer.size,
  UsedBy: layer.holders.map(({ kind, id, name }) => ({ Kind: kind, Id: id, Name: name })),
});

export const storageJson = ({ drivers, blobsSize, logsSize }: StorageUse): StorageAnswer => ({
  Drivers: drivers.map(useJson),
  BlobsSize: blobsSize,
  LogsSize: logsSize,
});

export const driverJson = (details: DriverDetails): DriverAnswer => ({
  ...useJson(details.use),
  ChosenBecause: details.chosenBecause,
  Status: details.status.map(([name, value]) => [name, value]),
  UnpackedLayers: details.unpacked.map(unpackedJson),
  ContainerFiles: details.containerFiles.map(({ id, name, status, size, quota }) => ({
    Id: id,
    Name: name,
    Status: status,
    Size: size,
    Quota: quota ?? null,
  })),
  OrphanSnapshots: details.orphanSnapshots.map(({ snapshot, size }) => ({ Snapshot: snapshot, Size: size })),
});

export const layerJson = (layer: ImageLayer): LayerAnswer => ({
  ChainId: layer.chainId,
  DiffId: layer.diffId,
  Blob: layer.blob,
  BlobSize: layer.blobSize ?? null,
  Places: layer.places.map(unpackedJson),
});

export const stepJson = (step: MigrationStep): MigrationStepAnswer => ({
  Kind: step.kind,
  Id: step.id,
  Name: step.name,
  Outcome: step.outcome,
  Reason: step.reason,
  Digest: step.digest,
  Size: step.size,
});

export const findingJson = (finding: Finding): FindingAnswer => ({
  Area: finding.area,
  Subject: finding.subject,
  Problem: finding.problem,
  Remedy: finding.remedy,
  State: finding.state,
  Error: finding.error,
});
