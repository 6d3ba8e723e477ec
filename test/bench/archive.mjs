// Archives and images made in memory: writing hundreds of thousands of files first would be most of a bench's time.
import { createHash } from 'node:crypto';
import { gzipSync } from 'node:zlib';

const BLOCK = 512;
const digestOf = (bytes) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

function header(path, type, size) {
  const block = Buffer.alloc(BLOCK);
  block.write(path, 0, 100);
  block.write(type === '5' ? '0000755\0' : '0000644\0', 100);
  block.write('0000000\x000000000\0', 108);
  block.write(`${size.toString(8).padStart(11, '0')}\0`, 124);
  block.write('14600000000\0', 136);
  block.fill(' ', 148, 156);
  block.write(type, 156);
  block.write('ustar\x0000', 257, 'latin1');
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return block;
}

/** An archive of files, `[path, content]`, with the folders that they are in. */
export function tarOf(files) {
  const parts = [];
  const folders = new Set();
  for (const [path, content] of files) {
    for (let slash = path.indexOf('/'); slash >= 0; slash = path.indexOf('/', slash + 1)) {
      const folder = path.slice(0, slash + 1);
      if (folders.has(folder)) continue;
      folders.add(folder);
      parts.push(header(folder, '5', 0));
    }
    parts.push(header(path, '0', content.length), content, Buffer.alloc((BLOCK - (content.length % BLOCK)) % BLOCK));
  }
  parts.push(Buffer.alloc(2 * BLOCK));
  return Buffer.concat(parts);
}

/** An image of one layer, as `makeImage` of the trial gives them. */
export function imageOf(tar) {
  const layer = gzipSync(tar, { level: 6 });
  const config = Buffer.from(
    JSON.stringify({ architecture: 'amd64', os: 'linux', config: {}, rootfs: { type: 'layers', diff_ids: [digestOf(tar)] } }),
  );
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: 'application/vnd.docker.distribution.manifest.v2+json',
      config: { mediaType: 'application/vnd.docker.container.image.v1+json', size: config.length, digest: digestOf(config) },
      layers: [{ mediaType: 'application/vnd.docker.image.rootfs.diff.tar.gzip', size: layer.length, digest: digestOf(layer) }],
    }),
  );
  return { tar, layer, config, manifest, digest: digestOf(manifest), id: digestOf(config) };
}
