import type { ContainerSummary, Port } from '../client/types.js';
import type { ListShape, Row } from './list.js';
import { goQuote } from './quote.js';
import { ago, ellipsis, humanSize, localStamp, shortId } from './units.js';

export const containerShape = (withSize: boolean): ListShape => ({
  headings: {
    ID: 'CONTAINER ID',
    Names: 'NAMES',
    Image: 'IMAGE',
    Command: 'COMMAND',
    CreatedAt: 'CREATED AT',
    RunningFor: 'CREATED',
    Ports: 'PORTS',
    State: 'STATE',
    Status: 'STATUS',
    Size: 'SIZE',
    Labels: 'LABELS',
    Mounts: 'MOUNTS',
    LocalVolumes: 'LOCAL VOLUMES',
    Networks: 'NETWORKS',
    Platform: 'PLATFORM',
  },
  table: `{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}${withSize ? '\t{{.Size}}' : ''}`,
  quiet: '{{.ID}}',
  raw: `container_id: {{.ID}}\nimage: {{.Image}}\ncommand: {{.Command}}\ncreated_at: {{.CreatedAt}}\nstate: {{.State}}\nstatus: {{.Status}}\nnames: {{.Names}}\nlabels: {{.Labels}}\nports: {{.Ports}}\n${withSize ? 'size: {{.Size}}\n' : ''}`,
});

export const containerRow = (from: ContainerSummary, whole: boolean): Row => {
  const names = (from.Names ?? []).map((name) => name.replace(/^\//, ''));
  const mounts = (from.Mounts ?? []).map((mount) => mount.Name || mount.Source || '');
  const labels = from.Labels ?? {};
  return {
    ID: whole ? from.Id : shortId(from.Id),
    // A name with a slash inside is another container's link to this one.
    Names: (whole ? names : names.filter((name) => !name.includes('/'))).join(','),
    Image: imageName(from, whole),
    Command: goQuote(whole ? from.Command : ellipsis(from.Command, 20)),
    get CreatedAt() {
      return localStamp(from.Created);
    },
    RunningFor: ago(from.Created),
    Ports: portList(from.Ports ?? []),
    State: from.State,
    Status: from.Status,
    Size: humanSize(from.SizeRw ?? 0, 3) + (from.SizeRootFs ? ` (virtual ${humanSize(from.SizeRootFs, 3)})` : ''),
    Labels: Object.entries(labels)
      .map(([key, value]) => `${key}=${value}`)
      .join(','),
    Mounts: mounts.map((name) => (whole ? name : ellipsis(name, 15))).join(','),
    LocalVolumes: String((from.Mounts ?? []).filter((mount) => mount.Driver === 'local').length),
    Networks: Object.keys(from.NetworkSettings?.Networks ?? {}).join(','),
    Platform: from.ImageManifestDescriptor?.platform ?? null,
    Label: (name: unknown) => labels[String(name)] ?? '',
  };
};

const imageName = (from: ContainerSummary, whole: boolean): string => {
  if (from.Image === '') return '<no image>';
  if (whole) return from.Image;
  if (shortId(from.ImageID) === shortId(from.Image)) return shortId(from.ImageID);
  return from.Image.replace(/@[a-z0-9+._-]+:[a-fA-F0-9]{32,}$/, '');
};

/** Ports as `ps` shows them: neighbours with the same address and number on both sides become a range. */
export const portList = (ports: readonly Port[]): string => {
  const sorted = [...ports].sort(
    (left, right) =>
      left.PrivatePort - right.PrivatePort ||
      order(left.IP ?? '', right.IP ?? '') ||
      (left.PublicPort ?? 0) - (right.PublicPort ?? 0) ||
      order(left.Type, right.Type),
  );
  const open = new Map<string, { first: number; last: number; text: () => string }>();
  const closed: string[] = [];
  const mapped: string[] = [];
  for (const { IP, PrivatePort, PublicPort, Type } of sorted) {
    const address = IP ? (IP.includes(':') ? `[${IP}]` : IP) : '';
    if (IP && PublicPort !== PrivatePort) {
      mapped.push(`${address}:${PublicPort}->${PrivatePort}/${Type}`);
      continue;
    }
    const key = `${address}/${Type}`;
    const range = open.get(key);
    if (range && PrivatePort === range.last + 1) {
      range.last = PrivatePort;
      continue;
    }
    if (range) closed.push(range.text());
    const next = {
      first: PrivatePort,
      last: PrivatePort,
      text: () => {
        const span = next.first === next.last ? String(next.first) : `${next.first}-${next.last}`;
        return `${IP ? `${address}:${span}->${span}` : span}/${Type}`;
      },
    };
    open.set(key, next);
  }
  return [...closed, ...[...open.values()].map((range) => range.text()), ...mapped].join(', ');
};

const order = (left: string, right: string): number => (left < right ? -1 : left > right ? 1 : 0);
