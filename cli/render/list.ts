import { align } from './table.js';
import { compile, TemplateError } from './template.js';
import { ownJson, toJson } from './template-value.js';
import { printable } from './quote.js';

/** How a kind of object is listed: its fields' headings, the usual table, and what --quiet leaves. */
export interface ListShape {
  headings: Record<string, string>;
  table: string;
  quiet: string;
  /** The `raw` format, for the kinds that have one. */
  raw?: string;
}

/** Fields of one line by their names in templates; a function among them takes arguments and is no part of the JSON. */
export type Row = Record<string, unknown>;

/**
 * A list in the format that the user asked for, every line ended.
 *
 * @param format empty or `table` for the usual table, `table TEMPLATE`, `json`, `raw`, or a template for each line
 */
export const renderList = (rows: readonly Row[], shape: ListShape, format: string, quiet = false): string => {
  const asked = format.trim();
  if (asked === '' || asked === 'table') return quiet ? lines(rows, shape.quiet) : table(rows, shape, shape.table);
  if (asked === 'json') return rows.map((row) => `${rowJson(row)}\n`).join('');
  if (asked === 'raw' && shape.raw !== undefined) return quiet ? lines(rows, `${asked}: ${shape.quiet}`) : lines(rows, shape.raw);
  const unescaped = asked.replaceAll('\\t', '\t').replaceAll('\\n', '\n');
  if (/^table\b/.test(unescaped)) return table(rows, shape, unescaped.slice('table'.length).trim());
  return lines(rows, unescaped);
};

const forHtml: Record<string, string> = { '<': '\\u003c', '>': '\\u003e', '&': '\\u0026' };

/** One object as JSON with its names in order and in Go's own escaping, as the `json` format prints it. */
export const rowJson = (row: Row): string =>
  toJson(
    Object.fromEntries(
      Object.keys(row)
        .toSorted()
        .map((key) => [key, row[key]]),
    ),
  ).replaceAll(/[<>&]/g, (char) => forHtml[char] as string);

const template = (text: string): ((row: Row) => string) => {
  try {
    const run = compile(text, { missing: 'error' });
    return (row) => run(withJson(row));
  } catch (error) {
    if (error instanceof TemplateError) throw new Error(`template parsing error: ${error.message}`);
    throw error;
  }
};

/** `{{json .}}` on a line is what the `json` format prints of it. */
const withJson = (row: Row): Row =>
  Object.defineProperty(row, ownJson, { enumerable: false, configurable: true, value: () => rowJson(row) });

const lines = (rows: readonly Row[], text: string): string => {
  const run = template(text);
  return rows.map((row) => `${run(row)}\n`).join('');
};

const table = (rows: readonly Row[], shape: ListShape, text: string): string => {
  const run = template(text);
  // Functions of a cell's value, such as upper or truncate, leave the heading as it is.
  const heading = template(
    text
      .replace(/\b(json|lower|upper|title)\s+(?=\.)/g, '')
      .replace(/\btruncate\s+(\.\w+)\s+\d+/g, '$1')
      .replace(/\s*\|\s*(json|lower|upper|title|truncate \d+)/g, ''),
  )(labelled(shape.headings));
  const body = rows.map((row) => run(row));
  const clean = process.stdout.isTTY ? body.map(printable) : body;
  return `${align([heading, ...clean].join('\n'))}\n`;
};

const labelled = (headings: Record<string, string>): Row => ({
  ...headings,
  Label: (name: unknown) => String(name).replaceAll(/[-_.]/g, ' ').toUpperCase().split(' ').at(-1),
});
