import type { RequestOf } from '../protocol/methods.js';
import { invalid } from '../protocol/errors.js';
import type { Maybe, Part } from './handlers.js';

export interface AccessQuestion {
  readonly user: string;
  readonly authenticationMethod: string;
  readonly method: string;
  /** With version and query. */
  readonly uri: string;
  readonly headers: Readonly<Record<string, string>>;
  /** The parsed JSON body; absent when there is none. */
  readonly body?: unknown;
}

export interface AccessAnswerQuestion extends AccessQuestion {
  readonly statusCode: number;
}

/** `true` lets it pass; a text is the reason of a refusal. */
export type AccessVerdict = true | string;

/** What the author of an access plugin writes. Whatever it throws is a refusal. */
export interface AccessPlugin {
  request(question: AccessQuestion): Maybe<AccessVerdict>;
  /** Before the answer goes out; everything passes without it. */
  response?(question: AccessAnswerQuestion): Maybe<AccessVerdict>;
}

function questionOf(asked: RequestOf<'AuthZPlugin.AuthZReq'>): AccessQuestion {
  // A question that says nothing is no reason to let anything pass.
  if (!asked.RequestMethod || !asked.RequestUri) throw invalid('an access question without method and path');
  const body = asked.RequestBody ? Buffer.from(asked.RequestBody, 'base64').toString('utf8') : '';
  return {
    user: asked.User ?? '',
    authenticationMethod: asked.UserAuthNMethod ?? '',
    method: asked.RequestMethod ?? '',
    uri: asked.RequestUri ?? '',
    headers: asked.RequestHeaders ?? {},
    ...(body !== '' && { body: JSON.parse(body) as unknown }),
  };
}

const wire = (verdict: AccessVerdict): { Allow: boolean; Msg?: string } =>
  verdict === true ? { Allow: true } : { Allow: false, Msg: verdict };

export function accessPart(plugin: AccessPlugin): Part {
  return {
    kind: 'authz',
    json: {
      'AuthZPlugin.AuthZReq': async (asked) => wire(await plugin.request(questionOf(asked))),
      'AuthZPlugin.AuthZRes': async (asked) =>
        wire((await plugin.response?.({ ...questionOf(asked), statusCode: asked.ResponseStatusCode ?? 0 })) ?? true),
    },
  };
}
