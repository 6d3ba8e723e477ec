import type { DeletedImage, Image, ImageHistory } from '../../image/images.js';
import { imageConfigJson } from '../containers/config-json.js';
import { timeOrZero, unixSeconds } from '../times.js';
import type { ImageSummary } from './schema.js';

/** Shared size and the number of containers are -1 until someone has counted them. */
export function imageSummary(image: Image): ImageSummary {
  return {
    Containers: -1,
    Created: unixSeconds(image.created),
    Id: image.id,
    Labels: Object.keys(image.config.labels).length > 0 ? { ...image.config.labels } : null,
    ParentId: image.parent,
    RepoDigests: [...image.repoDigests],
    RepoTags: [...image.repoTags],
    SharedSize: -1,
    Size: image.size,
  };
}

export function imageJson(image: Image, storageDriver: string): object {
  return {
    Id: image.id,
    RepoTags: image.repoTags,
    RepoDigests: image.repoDigests,
    Parent: image.parent,
    Comment: image.comment,
    Created: timeOrZero(image.created),
    DockerVersion: '',
    Author: image.author,
    Config: imageConfigJson(image.config),
    Architecture: image.architecture,
    ...(image.variant ? { Variant: image.variant } : {}),
    Os: image.os,
    Size: image.size,
    GraphDriver: { Data: null, Name: storageDriver },
    RootFS: { Type: 'layers', ...(image.diffIds.length > 0 ? { Layers: image.diffIds } : {}) },
    Metadata: { LastTagTime: timeOrZero(image.lastTagged) },
  };
}

export const historyJson = (entry: ImageHistory): object => ({
  Comment: entry.comment,
  Created: unixSeconds(entry.created),
  CreatedBy: entry.createdBy,
  Id: entry.id,
  Size: entry.size,
  Tags: entry.tags.length > 0 ? entry.tags : null,
});

export const deletedJson = (item: DeletedImage): object => ('untagged' in item ? { Untagged: item.untagged } : { Deleted: item.deleted });
