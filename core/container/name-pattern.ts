import { invalid } from '../contracts/errors.js';

const LONGEST = 256;
const MOST_QUANTIFIERS = 6;

/**
 * A client's `name` or `id` filter: matches exactly, or as a regular expression searched anywhere. Patterns that could make a
 * backtracking matcher run for ever (a repeated group, many repetitions) are refused rather than tried.
 */
export function namePattern(text: string): (name: string) => boolean {
  const plain = (name: string): boolean => name === text || name.includes(text);
  if (/^[\w\-/]*$/.test(text)) return plain;
  const quantifiers = text.match(/[*+?{]/g)?.length ?? 0;
  if (text.length > LONGEST || quantifiers > MOST_QUANTIFIERS || /\)[*+?{]/.test(text) || /\\[1-9]|\(\?[=!<]/.test(text)) {
    throw invalid(`invalid filter: the pattern '${text.slice(0, 100)}' is too complex`);
  }
  let expression: RegExp;
  try {
    expression = new RegExp(text);
  } catch (error) {
    throw invalid(`invalid filter: '${text}' is no regular expression`, error);
  }
  return (name) => name === text || expression.test(name);
}
