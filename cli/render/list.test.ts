import { describe, expect, it } from 'vitest';
import { portList } from './containers.js';
import { imageRows } from './images.js';
import { renderList } from './list.js';

const shape = { headings: { ID: 'CONTAINER ID', Name: 'NAMES' }, table: '{{.ID}}\t{{.Name}}', quiet: '{{.ID}}' };
const rows = (): Record<string, unknown>[] => [{ Name: '<web>', ID: 'abc', Label: (key: unknown) => `<${String(key)}>` }];

describe('a list', () => {
  it('is a table with headings, even when it is empty', () => {
    expect(renderList([], shape, '')).toBe('CONTAINER ID   NAMES\n');
    expect(renderList(rows(), shape, 'table')).toBe('CONTAINER ID   NAMES\nabc            <web>\n');
  });

  it('is ids alone when asked to be quiet', () => expect(renderList(rows(), shape, '', true)).toBe('abc\n'));

  it('takes a template for its columns and keeps the headings through functions', () => {
    expect(renderList(rows(), shape, 'table {{upper .Name}}\\t{{.ID}}')).toBe('NAMES     CONTAINER ID\n<WEB>     abc\n');
  });

  it('is JSON with names in order and in the escaping of Go', () => {
    expect(renderList(rows(), shape, 'json')).toBe('{"ID":"abc","Name":"\\u003cweb\\u003e"}\n');
    expect(renderList(rows(), shape, '{{json .}}')).toBe('{"ID":"abc","Name":"\\u003cweb\\u003e"}\n');
    expect(renderList(rows(), shape, '{{json .Name}} {{.Label "a"}}')).toBe('"<web>" <a>\n');
  });

  it('names what is wrong with a template', () => {
    expect(() => renderList(rows(), shape, '{{.Foo}}')).toThrow('map has no entry for key "Foo"');
    expect(() => renderList(rows(), shape, '{{bad}}')).toThrow('function "bad" not defined');
  });
});

describe('ports of a container', () => {
  it('join neighbours into ranges and put what is mapped elsewhere last', () => {
    expect(
      portList([
        { PrivatePort: 80, PublicPort: 8080, IP: '0.0.0.0', Type: 'tcp' },
        { PrivatePort: 80, PublicPort: 8080, IP: '::', Type: 'tcp' },
        { PrivatePort: 9001, PublicPort: 9001, IP: '127.0.0.1', Type: 'udp' },
        { PrivatePort: 9000, PublicPort: 9000, IP: '127.0.0.1', Type: 'udp' },
        { PrivatePort: 70, Type: 'tcp' },
        { PrivatePort: 71, Type: 'tcp' },
        { PrivatePort: 73, Type: 'tcp' },
      ]),
    ).toBe('70-71/tcp, 73/tcp, 127.0.0.1:9000-9001->9000-9001/udp, 0.0.0.0:8080->80/tcp, [::]:8080->80/tcp');
  });
});

describe('names of an image', () => {
  const image = {
    Id: 'sha256:aa',
    RepoTags: null as string[] | null,
    RepoDigests: null as string[] | null,
    Created: 0,
    Size: 1,
    SharedSize: -1,
    Containers: -1,
  };
  const names = (digests: boolean): unknown[] =>
    imageRows(image, false, digests).map((row) => `${String(row['Repository'])}:${String(row['Tag'])}@${String(row['Digest'])}`);

  it('give a line each, and an image without one a line of its own', () => {
    expect(names(false)).toEqual(['<none>:<none>@<none>']);
    Object.assign(image, { RepoTags: ['host:5000/a:1', 'host:5000/a:2'], RepoDigests: ['host:5000/a@sha256:x', 'b@sha256:y'] });
    expect(names(false)).toEqual(['host:5000/a:1@<none>', 'host:5000/a:2@<none>', 'b:<none>@<none>']);
    expect(names(true)).toEqual(['host:5000/a:1@sha256:x', 'host:5000/a:2@sha256:x', 'b:<none>@sha256:y']);
  });
});
