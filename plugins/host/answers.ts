import type { Ajv, ValidateFunction } from 'ajv';
import { EngineError, type ErrorKind } from '@gantry/core/contracts/errors.js';
import { errorKinds } from '../sdk/protocol/errors.js';
import { describe, type JsonMethod, type Method, type ResponseOf } from '../sdk/protocol/methods.js';
import { canonical } from '../sdk/protocol/validate.js';
import { limits } from './limits.js';

let ajv: Ajv | undefined;
const validators = new Map<Method, ValidateFunction>();

/** Loaded with the first answer: a daemon without plugins needs no validator. */
async function validatorOf(method: Method): Promise<ValidateFunction> {
  let validate = validators.get(method);
  if (!validate) {
    const { Ajv: AjvClass } = await import('ajv');
    ajv ??= new AjvClass({ strict: false, allErrors: false, coerceTypes: false, useDefaults: false, removeAdditional: false });
    validate = ajv.compile(describe(method).response as object);
    validators.set(method, validate);
  }
  return validate;
}

/** A plugin that answers what nobody can use. */
export const misbehaved = (plugin: string, method: string, what: string, cause?: unknown): EngineError =>
  new EngineError('system', `plugin ${plugin}: ${method}: ${what}`, { cause });

/**
 * The checked answer of a call. What the plugin refuses is thrown with its words, as Docker shows them: bare, or after `remote:`
 * for networks and addresses, or after the method's name when the status says it.
 */
export async function readAnswer<M extends JsonMethod>(plugin: string, method: M, status: number, body: Buffer): Promise<ResponseOf<M>> {
  if (status !== 200) throw refusal(method, status, body);
  const value = parse(plugin, method, body);
  const answer = canonical(value, describe(method).response as object);
  const validate = await validatorOf(method);
  if (!validate(answer)) {
    const [wrong] = validate.errors ?? [];
    const place = wrong?.instancePath.slice(1).replaceAll('/', '.') || 'the answer';
    throw misbehaved(plugin, method, `the answer does not fit the protocol: ${place} ${wrong?.message ?? 'is wrong'}`);
  }
  const failed = answer as { Err?: string | null; Error?: string | null; ErrKind?: string | null; Allow?: boolean };
  // An access plugin that allows has decided, whatever its Err says.
  const text = failed.Error || failed.Err;
  if (text && failed.Allow !== true) {
    // A plugin that knows kinds speaks as a driver of the engine's own would.
    throw new EngineError(kindIn(failed.ErrKind), `${failed.ErrKind ? '' : spokenBy(method)}${shortened(text)}`);
  }
  return answer as ResponseOf<M>;
}

/** What an answer with another status than 200 says. */
export function refusal(method: Method, status: number, body: Buffer): EngineError {
  const raw = shortened(body.toString('utf8').trim());
  let text = raw;
  let kind: ErrorKind | undefined;
  try {
    const { Err, Error: error, ErrKind } = JSON.parse(raw) as { Err?: unknown; Error?: unknown; ErrKind?: unknown };
    const said = Err || error;
    if (typeof said === 'string') text = said;
    kind = errorKinds.find((known) => known === ErrKind);
  } catch {
    // plain text
  }
  if (status === 404 && kind === undefined) kind = 'not-implemented';
  return new EngineError(kind ?? 'system', `${method}: ${text || `the plugin answered with status ${status}`}`);
}

function parse(plugin: string, method: string, body: Buffer): unknown {
  // Go's decoder reports an empty answer so; users search for the word.
  if (body.length === 0) throw misbehaved(plugin, method, 'EOF: the answer is empty');
  let value: unknown;
  try {
    value = JSON.parse(body.toString('utf8'));
  } catch (error) {
    throw misbehaved(plugin, method, `the answer is not JSON: ${shortened(body.toString('utf8', 0, 80))}`, error);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw misbehaved(plugin, method, 'the answer is not an object');
  if (depthOf(value) > limits.depth) throw misbehaved(plugin, method, `the answer is nested deeper than ${limits.depth}`);
  return value;
}

function depthOf(value: unknown): number {
  // Without recursion: what is measured here may be as deep as a megabyte of brackets.
  let level: unknown[] = [value];
  let depth = 0;
  while (level.length > 0 && depth <= limits.depth) {
    depth++;
    level = level.flatMap((item) => (typeof item === 'object' && item !== null ? Object.values(item) : [])).filter(isNested);
  }
  return depth;
}

const isNested = (value: unknown): boolean => typeof value === 'object' && value !== null;

const kindIn = (word: string | null | undefined): ErrorKind => errorKinds.find((known) => known === word) ?? 'system';

const spokenBy = (method: string): string => (/^(NetworkDriver|IpamDriver)\./.test(method) ? 'remote: ' : '');

/** What strangers say is shown without control characters, and not for ever. */
function shortened(text: string): string {
  const shown = text.length > limits.errorText ? `${text.slice(0, limits.errorText)} …` : text;
  return shown.replaceAll(/\p{Cc}/gu, (character) => (character === '\n' || character === '\t' ? character : '\ufffd'));
}
