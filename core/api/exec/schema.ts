import { bool, list, object, required, text, texts, textsOrText } from '../json-schema.js';

type Maybe<T> = T | null | undefined;

export interface ExecCreateBody {
  AttachStdin?: Maybe<boolean>;
  AttachStdout?: Maybe<boolean>;
  AttachStderr?: Maybe<boolean>;
  Tty?: Maybe<boolean>;
  DetachKeys?: Maybe<string>;
  Env?: Maybe<string[]>;
  WorkingDir?: Maybe<string>;
  User?: Maybe<string>;
  Privileged?: Maybe<boolean>;
  Cmd?: Maybe<string[] | string>;
  ConsoleSize?: Maybe<number[]>;
}

export interface ExecStartBody {
  Detach?: Maybe<boolean>;
  Tty?: Maybe<boolean>;
  ConsoleSize?: Maybe<number[]>;
}

const consoleSize = list({ type: 'integer', minimum: 0 });

export const create = {
  body: required(
    object({
      AttachStdin: bool,
      AttachStdout: bool,
      AttachStderr: bool,
      Tty: bool,
      DetachKeys: text,
      Env: texts,
      WorkingDir: text,
      User: text,
      Privileged: bool,
      Cmd: textsOrText,
      ConsoleSize: consoleSize,
    }),
  ),
};

export const start = { body: object({ Detach: bool, Tty: bool, ConsoleSize: consoleSize }) };
