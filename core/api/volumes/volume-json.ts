import type { Volume } from '../../volume/volumes.js';

export function volumeJson(volume: Volume & { status?: Record<string, unknown> }): object {
  return {
    ...(volume.created ? { CreatedAt: volume.created } : {}),
    Driver: volume.driver,
    Labels: Object.keys(volume.labels).length > 0 ? volume.labels : null,
    Mountpoint: volume.mountpoint,
    Name: volume.name,
    Options: Object.keys(volume.options).length > 0 ? volume.options : null,
    Scope: volume.scope,
    ...(volume.status && Object.keys(volume.status).length > 0 ? { Status: volume.status } : {}),
  };
}
