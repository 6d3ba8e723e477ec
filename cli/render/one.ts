import { compile } from './template.js';
import { toJson } from './template-value.js';

/** One object as JSON or through a template, with a line feed at the end. */
export const renderOne = (data: unknown, format: string): string => {
  if (format === 'json') return `${toJson(data)}\n`;
  let template;
  try {
    template = compile(format.replaceAll('\\t', '\t').replaceAll('\\n', '\n'), { missing: 'error' });
  } catch (error) {
    throw new Error(`template parsing error: ${(error as Error).message}`);
  }
  return `${template(data)}\n`;
};
