import { list, object, text, texts } from '../json-schema.js';

type Maybe<T> = T | null | undefined;

export interface PrivilegeJson {
  Name?: Maybe<string>;
  Description?: Maybe<string>;
  Value?: Maybe<string[]>;
}

/** What the user agreed to. */
export const privileges = { body: list(object({ Name: text, Description: text, Value: texts })) };

/** `NAME[.field]=value` */
export const settings = { body: texts };

export const LIST_FILTERS = ['enabled', 'capability'] as const;
