import { ApiError } from '../client/client.js';
import { SeveralErrors } from '../base-command.js';
import { compile, TemplateError } from '../render/template.js';
import { parseJson, toJson } from '../render/template-value.js';

/**
 * Prints what is known of each name: a list of JSON documents as the engine wrote them, or each through a template.
 * A name that is not there does not keep the others from being shown.
 */
export const inspectAll = async (names: readonly string[], format: string, fetch: (name: string) => Promise<string>): Promise<void> => {
  const asJson = format === '' || format === 'json';
  let template;
  try {
    template = asJson ? undefined : compile(format.replaceAll('\\t', '\t').replaceAll('\\n', '\n'), { missing: 'error' });
  } catch (error) {
    throw new Error(`template parsing error: ${(error as Error).message}`);
  }
  const found: unknown[] = [];
  const failures: string[] = [];
  let out = '';
  for (const name of names) {
    try {
      const document = parseJson(await fetch(name));
      found.push(document);
      if (template) out += `${template(document)}\n`;
    } catch (error) {
      if (error instanceof TemplateError) failures.push(`template parsing error: ${error.message}`);
      else if (error instanceof ApiError) failures.push(error.message);
      else throw error;
    }
  }
  if (format === '') out = `${found.length === 0 ? '[]' : toJson(found, 4)}\n`;
  else if (format === 'json') out = `${toJson(found)}\n`;
  process.stdout.write(out === '' && failures.length > 0 ? '\n' : out);
  if (failures.length > 0) throw new SeveralErrors(failures);
};
