import type { ImageSummary } from '../client/types.js';
import type { ListShape, Row } from './list.js';
import { ago, humanSize, localStamp, shortId } from './units.js';

export const imageShape = (digests: boolean): ListShape => ({
  headings: {
    ID: 'IMAGE ID',
    Repository: 'REPOSITORY',
    Tag: 'TAG',
    Digest: 'DIGEST',
    CreatedSince: 'CREATED',
    CreatedAt: 'CREATED AT',
    Size: 'SIZE',
    Containers: 'CONTAINERS',
    VirtualSize: 'SIZE',
    SharedSize: 'SHARED SIZE',
    UniqueSize: 'UNIQUE SIZE',
  },
  table: `{{.Repository}}\t{{.Tag}}\t${digests ? '{{.Digest}}\t' : ''}{{.ID}}\t{{.CreatedSince}}\t{{.Size}}`,
  quiet: '{{.ID}}',
  raw: `repository: {{.Repository}}\ntag: {{.Tag}}\n${digests ? 'digest: {{.Digest}}\n' : ''}image_id: {{.ID}}\ncreated_at: {{.CreatedAt}}\nvirtual_size: {{.Size}}\n`,
});

const none = '<none>';

/** One line for each name of an image, and one for an image without a name. */
export const imageRows = (image: ImageSummary, whole: boolean, digests: boolean): Row[] => {
  const tags = new Map<string, string[]>();
  const known = new Map<string, string[]>();
  const add = (to: Map<string, string[]>, name: string, value: string): void => void to.set(name, [...(to.get(name) ?? []), value]);
  for (const name of image.RepoTags ?? []) {
    const at = name.lastIndexOf(':');
    if (name !== '<none>:<none>') add(tags, name.slice(0, at), name.slice(at + 1));
  }
  for (const name of image.RepoDigests ?? []) {
    const at = name.lastIndexOf('@');
    if (name !== '<none>@<none>') add(known, name.slice(0, at), name.slice(at + 1));
  }
  const row = (repository: string, tag: string, digest: string): Row => imageRow(image, whole, repository, tag, digest);
  const rows: Row[] = [];
  for (const [repository, names] of tags) {
    const held = known.get(repository) ?? [];
    for (const tag of names) {
      if (!digests || held.length === 0) rows.push(row(repository, tag, none));
      else rows.push(...held.map((digest) => row(repository, tag, digest)));
    }
    known.delete(repository);
  }
  for (const [repository, held] of known) rows.push(...(digests ? held : [none]).map((digest) => row(repository, none, digest)));
  return rows.length > 0 ? rows : [row(none, none, none)];
};

const imageRow = (image: ImageSummary, whole: boolean, repository: string, tag: string, digest: string): Row => ({
  ID: whole ? image.Id : shortId(image.Id),
  Repository: repository,
  Tag: tag,
  Digest: digest,
  CreatedSince: ago(image.Created),
  get CreatedAt() {
    return localStamp(image.Created);
  },
  Size: humanSize(image.Size, 3),
  VirtualSize: humanSize(image.Size),
  Containers: image.Containers === -1 || image.Containers === undefined ? 'N/A' : String(image.Containers),
  SharedSize: image.SharedSize === -1 || image.SharedSize === undefined ? 'N/A' : humanSize(image.SharedSize),
  UniqueSize: image.SharedSize === -1 || image.SharedSize === undefined ? 'N/A' : humanSize(image.Size - image.SharedSize),
});
