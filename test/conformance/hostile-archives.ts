import { type ArchiveEntry, archive, archiveEntry, paxRecord } from './archive.js';

/**
 * Archives that try to leave their target, to fill memory or disk, or to confuse a parser. Whoever takes archives from outside is
 * given each of them, in a folder beside `victim` (a folder with `secret`, mode 0600) and `target-evil`; nothing of those may
 * change, and what is refused names the entry.
 */
export interface HostileArchive {
  readonly name: string;
  readonly bytes: Buffer;
  /** Refused, or put into the target with these paths and nothing outside. */
  readonly outcome: 'refused' | readonly string[];
  /** Part of the refusal. */
  readonly says?: string;
}

const hostile = (name: string, entries: readonly ArchiveEntry[], outcome: HostileArchive['outcome'], says?: string): HostileArchive => ({
  name,
  bytes: archive(entries),
  outcome,
  ...(says === undefined ? {} : { says }),
});

const raw = (name: string, bytes: Buffer, says?: string): HostileArchive => ({
  name,
  bytes,
  outcome: 'refused',
  ...(says === undefined ? {} : { says }),
});

const file = (path: string, rest: Partial<ArchiveEntry> = {}): ArchiveEntry => ({ path, content: 'evil', ...rest });
const symlink = (path: string, link: string): ArchiveEntry => ({ path, type: '2', link });
const hardLink = (path: string, link: string): ArchiveEntry => ({ path, type: '1', link });
const end = Buffer.alloc(1024);

export const hostileArchives: readonly HostileArchive[] = [
  // Names.
  hostile('a name that climbs out', [file('../victim/secret')], 'refused', '../victim/secret'),
  hostile('an absolute name that climbs out', [file('/../victim/secret')], 'refused', '/../victim/secret'),
  hostile('a name that goes in and climbs out', [file('a/../../victim/secret')], 'refused', 'a/../../victim/secret'),
  hostile('two dots alone', [file('..')], 'refused'),
  hostile('two dots as a folder', [{ path: '../' }], 'refused'),
  hostile('a file in place of the target', [file('.')], 'refused'),
  hostile('no name', [file('')], 'refused', 'no name'),
  hostile('an absolute name', [file('/etc/passwd')], ['etc', 'etc/passwd']),
  hostile('dots and slashes that stay inside', [file('./a/./b//../c')], ['a', 'a/c']),
  hostile('a name with a line break and a backslash', [file('a\nb\\c')], ['a\nb\\c']),
  hostile('a name of 256 bytes', [file('n'.repeat(256))], 'refused', '255'),
  hostile('a path of 5000 bytes', [file('long/'.repeat(1000))], 'refused', '4095'),
  hostile('a path of 64 KiB', [file('x', { pax: { path: 'long/'.repeat(13_000) } })], 'refused'),
  hostile('a file whose name ends in a slash', [file('f/', { type: '0' })], ['f']),
  raw(
    'a name that is no UTF-8, and one that climbs out after it',
    Buffer.concat([
      archiveEntry(file('x', { patch: (header) => void header.write('caf\xe9\0', 0, 'latin1') })),
      archiveEntry(file('../victim/secret')),
      end,
    ]),
    '../victim/secret',
  ),
  hostile('a name with a NUL byte', [file('x', { pax: { path: 'a\0b' } })], 'refused', 'NUL'),

  // Symbolic links.
  hostile('a link out and a file through it', [symlink('l', '../victim'), file('l/secret')], ['l', 'victim', 'victim/secret']),
  hostile(
    'an absolute link out and a file through it',
    [symlink('l', '/tmp'), file('l/gantry-hostile')],
    ['l', 'tmp', 'tmp/gantry-hostile'],
  ),
  hostile('a file in place of a link out', [symlink('l', '../victim/secret'), file('l')], ['l']),
  hostile('a folder in place of a link out', [symlink('l', '../victim'), { path: 'l/', mode: 0o777 }], ['l']),
  hostile(
    'a link to a folder whose name begins alike',
    [symlink('l', '../target-evil'), file('l/x')],
    ['l', 'target-evil', 'target-evil/x'],
  ),
  hostile(
    'a link through links',
    [symlink('a', '..'), symlink('a/b', '../victim'), file('a/b/secret')],
    ['a', 'b', 'victim', 'victim/secret'],
  ),
  hostile('links in a ring', [symlink('a', 'b'), symlink('b', 'a'), file('a/x')], 'refused', 'a/x'),
  hostile(
    'a chain of 45 links',
    [...Array.from({ length: 45 }, (_, index) => symlink(`l${index}`, `l${index + 1}`)), { path: 'l45/' }, file('l0/x')],
    'refused',
    'l0/x',
  ),
  hostile(
    'everything that can be changed through a link out',
    [symlink('l', '../victim/secret'), file('l', { mode: 0o7777, uid: 4242, gid: 4242, mtime: 1, pax: { 'SCHILY.xattr.user.evil': '1' } })],
    ['l'],
  ),
  hostile(
    'a folder below a link out, with other properties',
    [symlink('d', '../victim'), { path: 'd/', mode: 0o7777, uid: 4242, gid: 4242 }, { path: 'd/', mode: 0o755 }],
    ['d'],
  ),
  hostile(
    'a link that is replaced, and what was resolved through it',
    [{ path: 'a/' }, file('a/x'), symlink('a', '../victim'), file('a/secret')],
    ['a', 'victim', 'victim/secret'],
  ),
  hostile('a link to nothing', [symlink('a', '')], 'refused', 'nothing'),
  hostile(
    'a link into the kernel',
    [symlink('p', '/proc/self/root/tmp'), file('p/gantry-hostile')],
    ['p', 'proc', 'proc/self', 'proc/self/root', 'proc/self/root/tmp', 'proc/self/root/tmp/gantry-hostile'],
  ),
  hostile('a file as a folder', [file('f'), file('f/x')], 'refused', 'f/x'),

  // Hard links.
  hostile('a hard link that climbs out', [hardLink('h', '../victim/secret'), file('h')], 'refused', '../victim/secret'),
  hostile('an absolute hard link', [file('a'), hardLink('h', '/a')], ['a', 'h']),
  hostile('a hard link through a link out', [symlink('l', '../victim'), hardLink('h', 'l/secret')], 'refused', 'l/secret'),
  hostile('a hard link to a link out, then a file over it', [symlink('l', '../victim/secret'), hardLink('h', 'l'), file('h')], ['h', 'l']),
  hostile('a hard link to a folder', [{ path: 'd/' }, hardLink('h', 'd')], 'refused', 'folder'),
  hostile(
    'a hard link to a link out, and its properties changed by both names',
    [symlink('l', '../victim/secret'), hardLink('h', 'l'), file('h', { mode: 0o7777, uid: 4242 }), file('l', { mode: 0o7777, uid: 4242 })],
    ['h', 'l'],
  ),
  hostile('a hard link to what comes later', [hardLink('h', 'later'), file('later')], 'refused', 'later'),
  hostile('a hard link to itself', [file('h'), hardLink('h', 'h')], ['h']),
  hostile('a hard link to the target itself', [hardLink('h', '.')], 'refused'),

  // Kinds.
  hostile('a kind that nobody knows', [file('x', { type: 'Z' })], 'refused', 'type'),
  hostile('a FIFO and a file over it', [{ path: 'p', type: '6' }, file('p')], ['p']),
  hostile('a device and a file over it', [{ path: 'd', type: '3', device: [1, 1] }, file('d')], ['d']),
  hostile('a device number out of range', [{ path: 'd', type: '3', device: [0o7777777, 0] }], 'refused', 'device'),

  // Numbers.
  hostile('a negative size in binary', [file('x', { patch: (header) => header.fill(0xff, 124, 136) })], 'refused', 'size'),
  hostile('a size of 2^62', [file('x', { pax: { size: `${2n ** 62n}` } })], 'refused', 'size'),
  hostile('a size that is no number', [file('x', { patch: (header) => void header.write('12z', 124) })], 'refused', 'size'),
  hostile('a negative PAX size', [file('x', { pax: { size: '-1' } })], 'refused', 'size'),
  hostile('a user id of 2^32 - 1', [file('x', { pax: { uid: '4294967295' } })], 'refused', 'uid'),
  hostile('a user id of 2^64', [file('x', { pax: { uid: '18446744073709551616' } })], 'refused', 'uid'),
  hostile('a time after the end of time', [file('x', { pax: { mtime: `${2n ** 64n}` } })], 'refused', 'mtime'),
  hostile('a time that is none', [file('x', { pax: { mtime: 'now' } })], 'refused', 'mtime'),

  // Structure.
  raw('no archive', Buffer.from('this is not an archive'.repeat(50)), 'checksum'),
  raw('half a header', archiveEntry(file('x')).subarray(0, 300)),
  raw('half a file', archiveEntry(file('x', { content: 'y'.repeat(5000) })).subarray(0, 3000), 'too early'),
  raw('an extended header and no entry', Buffer.concat([archiveEntry(file('x', { pax: { comment: 'c' } })).subarray(0, 1024), end])),
  raw(
    'a PAX record that is too long for its header',
    Buffer.concat([archiveEntry({ path: 'pax', type: 'x', content: '999 path=x\n' }), end]),
    'malformed',
  ),
  raw('a PAX record of length 0', Buffer.concat([archiveEntry({ path: 'pax', type: 'x', content: '0 path=x\n' }), end]), 'malformed'),
  raw('a PAX record without a value', Buffer.concat([archiveEntry({ path: 'pax', type: 'x', content: '8 path\n\n' }), end]), 'malformed'),
  raw(
    'a PAX header of 1 GiB',
    Buffer.concat([archiveEntry({ path: 'pax', type: 'x', content: paxRecord('path', 'x'), size: 1 << 30 }), end]),
    'too long',
  ),
  raw(
    'a GNU long name of 1 GiB',
    Buffer.concat([archiveEntry({ path: '././@LongLink', type: 'L', content: 'x', size: 1 << 30 }), end]),
    'too long',
  ),
  raw(
    'a chain of GNU long names',
    Buffer.concat([
      ...Array.from({ length: 300 }, () => archiveEntry({ path: '././@LongLink', type: 'L', content: '../victim/secret\0' })),
      archiveEntry(file('x')),
      end,
    ]),
  ),
  raw(
    'a hundred thousand PAX records',
    Buffer.concat([archiveEntry({ path: 'pax', type: 'x', content: paxRecord('path', '../victim/secret').repeat(100_000) }), end]),
  ),
  raw('an attribute of 1 MiB', archive([file('x', { pax: { 'SCHILY.xattr.user.a': 'v'.repeat(1 << 20) } })])),
  raw(
    'two thousand attributes',
    archive([file('x', { pax: Object.fromEntries(Array.from({ length: 2000 }, (_, index) => [`SCHILY.xattr.user.a${index}`, 'v'])) })]),
    'too many',
  ),

  // Sparse files.
  hostile(
    'a sparse file that is larger than any limit',
    [file('x', { pax: { 'GNU.sparse.major': '0', 'GNU.sparse.size': `${2n ** 60n}`, 'GNU.sparse.map': '0,4' } })],
    'refused',
    'limit',
  ),
  hostile(
    'a sparse map out of order',
    [file('x', { pax: { 'GNU.sparse.size': '100', 'GNU.sparse.map': '50,2,0,2' } })],
    'refused',
    'sparse',
  ),
  hostile(
    'a sparse map that overlaps',
    [file('x', { pax: { 'GNU.sparse.size': '100', 'GNU.sparse.map': '0,3,2,1' } })],
    'refused',
    'sparse',
  ),
  hostile('a sparse map past the end', [file('x', { pax: { 'GNU.sparse.size': '3', 'GNU.sparse.map': '0,4' } })], 'refused', 'sparse'),
  hostile(
    'a sparse map for more bytes than there are',
    [file('x', { pax: { 'GNU.sparse.size': '100', 'GNU.sparse.map': '0,50' } })],
    'refused',
    'sparse',
  ),
];

/** Such that only a reader of layers sees their meaning. */
export const hostileLayers: readonly HostileArchive[] = [
  hostile('a whiteout of nothing', [file('.wh.')], 'refused', 'hides nothing'),
  hostile('a whiteout of the folder itself', [file('.wh..')], 'refused', 'hides nothing'),
  hostile('a whiteout of the parent', [file('.wh...')], 'refused', 'hides nothing'),
  hostile('a whiteout of the parent, deeper', [{ path: 'a/' }, file('a/.wh...')], 'refused', 'hides nothing'),
  hostile('a whiteout through a link out', [symlink('l', '../victim'), file('l/.wh.secret')], ['l', 'victim']),
  hostile('an opaque mark through a link out', [symlink('l', '../victim'), file('l/.wh..wh..opq')], ['l', 'victim']),
  hostile(
    'overlay attributes of its own',
    [{ path: 'd/', pax: { 'SCHILY.xattr.trusted.overlay.redirect': '/../victim', 'SCHILY.xattr.trusted.overlay.opaque': 'y' } }],
    ['d'],
  ),
];
