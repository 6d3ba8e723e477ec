import type { CheckResult } from './suite.js';

const shown = (value: unknown): string => {
  if (value === undefined) return '(an empty body)';
  if (Buffer.isBuffer(value)) return `(${value.length} bytes)`;
  return JSON.stringify(value);
};

/** What was asked and answered, for a promise that was broken. */
function details({ message, exchange }: CheckResult): string[] {
  return [
    ...(message === undefined ? [] : [`promise: ${message}`]),
    ...(exchange
      ? [
          `request: POST /${exchange.method} ${shown(exchange.request)}`,
          `answer: ${exchange.status === 0 ? 'none: ' : `${exchange.status} `}${exchange.text.trim().slice(0, 2000)}`,
        ]
      : []),
  ];
}

/** For people. */
export function plain(results: readonly CheckResult[]): string {
  const mark = { kept: 'ok  ', broken: 'FAIL', skipped: 'skip' } as const;
  const lines = results.flatMap((result) => [
    `${mark[result.outcome]}  ${result.kind}: ${result.name}${result.outcome === 'skipped' ? ` (${result.message ?? ''})` : ''}`,
    ...(result.outcome === 'broken' ? details(result).map((line) => `      ${line}`) : []),
  ]);
  const count = (outcome: CheckResult['outcome']): number => results.filter((result) => result.outcome === outcome).length;
  return `${lines.join('\n')}\n\n${count('kept')} kept, ${count('broken')} broken, ${count('skipped')} skipped\n`;
}

/** Test Anything Protocol, version 13. */
export function tap(results: readonly CheckResult[]): string {
  const lines = results.flatMap((result, index) => {
    const line = `${result.outcome === 'broken' ? 'not ok' : 'ok'} ${index + 1} - ${result.kind}: ${result.name.replaceAll('#', '\\#')}`;
    if (result.outcome === 'skipped') return [`${line} # SKIP ${result.message ?? ''}`];
    if (result.outcome === 'kept') return [line];
    return [
      line,
      '  ---',
      ...details(result).map((text) => `  ${text.slice(0, text.indexOf(':'))}: ${JSON.stringify(text.slice(text.indexOf(':') + 2))}`),
      '  ...',
    ];
  });
  return ['TAP version 13', `1..${results.length}`, ...lines, ''].join('\n');
}

const escaped = (text: string): string =>
  text
    .replaceAll(/[<>&"']/g, (character) => `&#${character.charCodeAt(0)};`)
    .replaceAll(/\p{Cc}/gu, (character) => (character === '\n' ? '\n' : ' '));

/** JUnit's XML, as CI servers read it. */
export function junit(results: readonly CheckResult[]): string {
  const count = (outcome: CheckResult['outcome']): number => results.filter((result) => result.outcome === outcome).length;
  const cases = results.map((result) => {
    const head = `  <testcase classname="${escaped(result.kind)}" name="${escaped(result.name)}" time="${result.ms / 1000}"`;
    if (result.outcome === 'kept') return `${head}/>`;
    const inside =
      result.outcome === 'skipped'
        ? `<skipped message="${escaped(result.message ?? '')}"/>`
        : `<failure message="${escaped(result.message ?? '')}">${escaped(details(result).join('\n'))}</failure>`;
    return `${head}>${inside}</testcase>`;
  });
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuite name="plugin" tests="${results.length}" failures="${count('broken')}" skipped="${count('skipped')}">`,
    ...cases,
    '</testsuite>',
    '',
  ].join('\n');
}
