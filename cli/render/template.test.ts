import { describe, expect, it } from 'vitest';
import { compile } from './template.js';
import { parseJson, toJson } from './template-value.js';

const data = {
  Name: '/web',
  State: { Running: true, ExitCode: 0 },
  Config: { Env: ['A=1', 'B=2'], Labels: { 'com.example/x': 'y', b: '2' }, Empty: null },
  Ports: { '80/tcp': [{ HostIp: '0.0.0.0', HostPort: '8080' }], '90/udp': null },
  Label: (name: unknown) => `label ${String(name)}`,
};
const run = (text: string): string => compile(text)(data);

describe('a template', () => {
  it.each([
    ['{{.Name}}', '/web'],
    ['a{{ .Name }}b', 'a/webb'],
    ['{{.State.Running}} {{.State.ExitCode}}', 'true 0'],
    ['{{.Config.Env}}', '[A=1 B=2]'],
    ['{{.Config.Labels}}', 'map[b:2 com.example/x:y]'],
    ['{{json .Config.Env}}', '["A=1","B=2"]'],
    ['{{.Config.Env | json}}', '["A=1","B=2"]'],
    ['{{join .Config.Env ", "}}', 'A=1, B=2'],
    ['{{index .Config.Labels "com.example/x"}}', 'y'],
    ['{{index .Config.Env 1}}', 'B=2'],
    ['{{(index (index .Ports "80/tcp") 0).HostPort}}', '8080'],
    ['{{range .Config.Env}}<{{.}}>{{end}}', '<A=1><B=2>'],
    ['{{range $i, $e := .Config.Env}}{{$i}}={{$e}} {{end}}', '0=A=1 1=B=2 '],
    ['{{range $p, $c := .Ports}}{{$p}}{{if $c}} -> {{(index $c 0).HostPort}}{{else}} -{{end}};{{end}}', '80/tcp -> 8080;90/udp -;'],
    ['{{range .Config.Empty}}x{{else}}none{{end}}', 'none'],
    ['{{with .State}}{{.ExitCode}}{{end}}', '0'],
    ['{{if eq .Name "/web"}}yes{{else if .Name}}other{{else}}no{{end}}', 'yes'],
    ['{{if and .State.Running (not .State.ExitCode)}}up{{end}}', 'up'],
    ['{{$n := .Name}}{{$n | upper}}', '/WEB'],
    ['{{len .Config.Env}} {{slice .Name 1}}', '2 web'],
    ['{{printf "%-6s|%5d|%q|%.2f" .Name 42 "x" 1.5}}', '/web  |   42|"x"|1.50'],
    ['{{println "a" 1}}', 'a 1\n'],
    ['{{title "two words"}} {{lower "ABC"}} {{truncate "abcdef" 3}} {{pad "x" 1 2}}|', 'Two Words abc abc  x  |'],
    ['{{range split "a,b" ","}}{{.}};{{end}}', 'a;b;'],
    ['a {{- " b " -}} c', 'a b c'],
    ['{{/* nothing */}}x', 'x'],
    ['{{"a\\tb"}}{{`raw\\n`}}', 'a\tbraw\\n'],
    ['{{.Label "x"}}', 'label x'],
    ['{{.Missing}}', '<no value>'],
    ['{{range .Config.Env}}{{if eq . "B=2"}}{{break}}{{end}}{{.}}{{end}}', 'A=1'],
    ['{{$.Name}}{{range .Config.Env}}{{$.Name}}{{end}}', '/web/web/web'],
    ['{{lt 1 2}} {{ge 2 3}} {{ne "a" "b"}} {{eq 1 2 1}}', 'true false true true'],
  ])('%s', (text, expected) => expect(run(text)).toBe(expected));

  it.each([
    ['{{.Name', 'unclosed action'],
    ['{{range .Config.Env}}', 'unexpected EOF'],
    ['{{end}}', 'unexpected {{end}}'],
    ['{{nosuch .Name}}', 'function "nosuch" not defined'],
    ['{{index .Config.Env 9}}', 'index out of range: 9'],
    ['{{"x}}', 'unclosed action'],
    ['{{}}', 'missing value for command'],
    ['{{.Name "x"}}', 'Name is not a method but has arguments'],
  ])('%s is refused', (text, message) => expect(() => run(text)).toThrow(message));

  it('refuses a field that is not there when it is asked to', () => {
    expect(() => compile('{{.Missing}}', { missing: 'error' })(data)).toThrow('map has no entry for key "Missing"');
  });

  it('reads no members that the data does not have itself', () => {
    expect(run('{{.constructor}}')).toBe('<no value>');
    expect(run('{{index .Config.Labels "toString"}}')).toBe('<no value>');
  });
});

describe('JSON', () => {
  it('keeps integers whole that a double cannot hold', () => {
    const text = '{"Hard":9223372036854775807,"Soft":1}';
    expect(toJson(parseJson(text))).toBe(text);
    expect(compile('{{.Hard}}')(parseJson(text))).toBe('9223372036854775807');
  });
});
