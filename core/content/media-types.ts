/** The media types of image distribution, Docker's and OCI's. */
export const mediaTypes = {
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerIndex: 'application/vnd.docker.distribution.manifest.list.v2+json',
  dockerSchema1: 'application/vnd.docker.distribution.manifest.v1+json',
  dockerSchema1Signed: 'application/vnd.docker.distribution.manifest.v1+prettyjws',
  dockerConfig: 'application/vnd.docker.container.image.v1+json',
  dockerPluginConfig: 'application/vnd.docker.plugin.v1+json',
  dockerLayer: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
  dockerLayerPlain: 'application/vnd.docker.image.rootfs.diff.tar',
  dockerForeignLayer: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
  ociManifest: 'application/vnd.oci.image.manifest.v1+json',
  ociIndex: 'application/vnd.oci.image.index.v1+json',
  ociConfig: 'application/vnd.oci.image.config.v1+json',
  ociLayer: 'application/vnd.oci.image.layer.v1.tar',
  ociLayerGzip: 'application/vnd.oci.image.layer.v1.tar+gzip',
  ociLayerZstd: 'application/vnd.oci.image.layer.v1.tar+zstd',
} as const;

export const isManifestType = (type: string): boolean => type === mediaTypes.dockerManifest || type === mediaTypes.ociManifest;

export const isIndexType = (type: string): boolean => type === mediaTypes.dockerIndex || type === mediaTypes.ociIndex;

export const isSchema1Type = (type: string): boolean => type === mediaTypes.dockerSchema1 || type === mediaTypes.dockerSchema1Signed;

/** What a registry is told that we understand, the preferred ones first. */
export const acceptedManifests: readonly string[] = [
  mediaTypes.ociIndex,
  mediaTypes.dockerIndex,
  mediaTypes.ociManifest,
  mediaTypes.dockerManifest,
];

/** Layers that are not allowed to be given away: their bytes come from elsewhere, with another's licence. */
export const isForeignLayerType = (type: string): boolean =>
  type === mediaTypes.dockerForeignLayer || type.includes('.layer.nondistributable.');

export const isLayerType = (type: string): boolean =>
  type === mediaTypes.dockerLayer ||
  type === mediaTypes.dockerLayerPlain ||
  type === mediaTypes.ociLayer ||
  type === mediaTypes.ociLayerGzip ||
  type === mediaTypes.ociLayerZstd;
