/** From the text of a template to a tree. */

export type Operand =
  | { type: 'literal'; value: unknown }
  | { type: 'dot' }
  | { type: 'nil' }
  | { type: 'function'; name: string }
  | { type: 'field'; path: string[] }
  | { type: 'variable'; name: string; path: string[] }
  | { type: 'pipe'; pipe: Pipe }
  | { type: 'chain'; of: Operand; path: string[] };

export interface Pipe {
  declares: string[];
  /** `=` rather than `:=`: the variable exists already. */
  assigns: boolean;
  commands: Operand[][];
}

export type Node = { type: 'text'; text: string } | { type: 'action'; pipe: Pipe } | { type: 'break' } | { type: 'continue' } | Block;

export interface Block {
  type: 'if' | 'with' | 'range';
  pipe: Pipe;
  body: Node[];
  otherwise: Node[];
}

export class TemplateError extends Error {}

type Token = { kind: 'field' | 'variable' | 'word' | 'number' | 'string' | 'mark'; text: string; value?: unknown; spaceBefore: boolean };

const tokenPattern =
  /\s+|\.[A-Za-z_][\w]*|\$\w*|[A-Za-z_]\w*|[+-]?(?:0[xX][\da-fA-F]+|\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)|"(?:[^"\\\n]|\\.)*"|`[^`]*`|'(?:[^'\\]|\\.)+'|:=|[.|()=,]/y;

const tokenize = (action: string): Token[] => {
  const tokens: Token[] = [];
  let spaceBefore = true;
  tokenPattern.lastIndex = 0;
  while (tokenPattern.lastIndex < action.length) {
    const at = tokenPattern.lastIndex;
    const text = tokenPattern.exec(action)?.[0];
    if (text === undefined) {
      const char = action[at] as string;
      throw new TemplateError(char === '"' ? 'unterminated quoted string' : `unexpected "${char}" in operand`);
    }
    if (/^\s/.test(text)) {
      spaceBefore = true;
      continue;
    }
    tokens.push({ ...classify(text), text, spaceBefore });
    spaceBefore = false;
  }
  return tokens;
};

const classify = (text: string): { kind: Token['kind']; value?: unknown } => {
  const first = text[0] as string;
  if (first === '.' && text.length > 1) return { kind: 'field' };
  if (first === '$') return { kind: 'variable' };
  if (first === '"') return { kind: 'string', value: unquote(text) };
  if (first === '`') return { kind: 'string', value: text.slice(1, -1) };
  if (first === "'") return { kind: 'number', value: unquote(`"${text.slice(1, -1)}"`).codePointAt(0) };
  if (/[\d+-]/.test(first)) return { kind: 'number', value: Number(text) };
  if (/[A-Za-z_]/.test(first)) return { kind: 'word' };
  return { kind: 'mark' };
};

const escapes: Record<string, string> = { n: '\n', t: '\t', r: '\r', a: '\x07', b: '\b', f: '\f', v: '\v', '"': '"', "'": "'", '\\': '\\' };

const unquote = (text: string): string =>
  text.slice(1, -1).replace(/\\(?:x([\da-fA-F]{2})|u([\da-fA-F]{4})|(.))/g, (whole, hex?: string, unicode?: string, char?: string) => {
    if (hex ?? unicode) return String.fromCharCode(Number.parseInt((hex ?? unicode) as string, 16));
    const meant = escapes[char as string];
    if (meant === undefined) throw new TemplateError(`unknown escape ${whole}`);
    return meant;
  });

type Piece = { text: string } | { tokens: Token[]; keyword: string };

/** Splits into text and actions; `{{-` and `-}}` take the white space beside them away, comments vanish. */
const split = (source: string): Piece[] => {
  const pieces: Piece[] = [];
  let at = 0;
  let trimNext = false;
  while (at <= source.length) {
    const open = source.indexOf('{{', at);
    let text = source.slice(at, open < 0 ? undefined : open);
    if (trimNext) text = text.trimStart();
    if (open < 0) {
      pieces.push({ text });
      break;
    }
    let from = open + 2;
    if (/^-\s/.test(source.slice(from, from + 2))) {
      text = text.trimEnd();
      from++;
    }
    pieces.push({ text });
    const close = actionEnd(source, from);
    let action = source.slice(from, close);
    trimNext = /\s-$/.test(action);
    if (trimNext) action = action.slice(0, -1);
    at = close + 2;
    if (/^\s*\/\*[\s\S]*\*\/\s*$/.test(action)) continue;
    const tokens = tokenize(action);
    if (tokens.length === 0) throw new TemplateError('missing value for command');
    pieces.push({ tokens, keyword: tokens[0]?.kind === 'word' ? tokens[0].text : '' });
  }
  return pieces;
};

const actionEnd = (source: string, from: number): number => {
  let quote = '';
  for (let at = from; at < source.length; at++) {
    const char = source[at] as string;
    if (quote !== '') {
      if (char === '\\' && quote !== '`') at++;
      else if (char === quote) quote = '';
    } else if (char === '"' || char === '`' || char === "'") quote = char;
    else if (char === '}' && source[at + 1] === '}') return at;
  }
  throw new TemplateError('unclosed action');
};

export const parseTemplate = (source: string): Node[] => new Parser(split(source)).all();

class Parser {
  private at = 0;
  constructor(private readonly pieces: readonly Piece[]) {}

  all(): Node[] {
    const { nodes, ended } = this.list();
    if (ended) throw new TemplateError(`unexpected {{${ended.keyword}}}`);
    return nodes;
  }

  private list(): { nodes: Node[]; ended?: Extract<Piece, { keyword: string }> } {
    const nodes: Node[] = [];
    while (this.at < this.pieces.length) {
      const piece = this.pieces[this.at++] as Piece;
      if ('text' in piece) {
        if (piece.text !== '') nodes.push({ type: 'text', text: piece.text });
        continue;
      }
      switch (piece.keyword) {
        case 'end':
        case 'else':
          return { nodes, ended: piece };
        case 'break':
        case 'continue':
          nodes.push({ type: piece.keyword });
          break;
        case 'if':
        case 'with':
        case 'range':
          nodes.push(this.block(piece.keyword, piece.tokens.slice(1)));
          break;
        case 'define':
        case 'template':
        case 'block':
          throw new TemplateError(`{{${piece.keyword}}} is not supported`);
        default:
          nodes.push({ type: 'action', pipe: new PipeParser(piece.tokens).all() });
      }
    }
    return { nodes };
  }

  private block(type: 'if' | 'with' | 'range', tokens: Token[]): Node {
    if (tokens.length === 0) throw new TemplateError(`missing value for ${type}`);
    const pipe = new PipeParser(tokens).all();
    const body = this.list();
    if (!body.ended) throw new TemplateError('unexpected EOF');
    let otherwise: Node[] = [];
    if (body.ended.keyword === 'else') {
      const [, next, ...rest] = body.ended.tokens;
      // `{{else if}}` is an if within the else, and they share one end.
      if (next && (next.text === 'if' || next.text === 'with')) otherwise = [this.block(next.text, rest)];
      else {
        const tail = this.list();
        if (tail.ended?.keyword !== 'end') throw new TemplateError('unexpected EOF');
        otherwise = tail.nodes;
      }
    }
    return { type, pipe, body: body.nodes, otherwise };
  }
}

class PipeParser {
  private at = 0;
  constructor(private readonly tokens: readonly Token[]) {}

  all(): Pipe {
    const pipe = this.pipe();
    const left = this.tokens[this.at];
    if (left) throw new TemplateError(`unexpected "${left.text}" in command`);
    return pipe;
  }

  private pipe(): Pipe {
    const pipe: Pipe = { declares: [], assigns: false, commands: [] };
    const [first, mark, second, after] = this.tokens.slice(this.at, this.at + 4);
    if (first?.kind === 'variable' && (mark?.text === ':=' || mark?.text === '=')) {
      pipe.declares = [first.text];
      pipe.assigns = mark.text === '=';
      this.at += 2;
    } else if (first?.kind === 'variable' && mark?.text === ',' && second?.kind === 'variable' && after?.text === ':=') {
      pipe.declares = [first.text, second.text];
      this.at += 4;
    }
    do pipe.commands.push(this.command());
    while (this.take('|'));
    return pipe;
  }

  private take(text: string): boolean {
    const token = this.tokens[this.at];
    if (token?.kind !== 'mark' || token.text !== text) return false;
    this.at++;
    return true;
  }

  private command(): Operand[] {
    const words: Operand[] = [];
    for (let token = this.tokens[this.at]; token && !(token.kind === 'mark' && '|)'.includes(token.text)); token = this.tokens[this.at]) {
      words.push(this.operand());
    }
    if (words.length === 0) throw new TemplateError('missing value for command');
    return words;
  }

  private operand(): Operand {
    const token = this.tokens[this.at++] as Token;
    switch (token.kind) {
      case 'number':
      case 'string':
        return { type: 'literal', value: token.value };
      case 'field':
        return { type: 'field', path: [token.text.slice(1), ...this.path()] };
      case 'variable':
        return { type: 'variable', name: token.text, path: this.path() };
      case 'word':
        if (token.text === 'true' || token.text === 'false') return { type: 'literal', value: token.text === 'true' };
        if (token.text === 'nil') return { type: 'nil' };
        return { type: 'function', name: token.text };
      case 'mark':
        if (token.text === '.') return { type: 'dot' };
        if (token.text !== '(') throw new TemplateError(`unexpected "${token.text}" in operand`);
    }
    const pipe = this.pipe();
    if (!this.take(')')) throw new TemplateError('unclosed left paren');
    const path = this.path();
    return path.length > 0 ? { type: 'chain', of: { type: 'pipe', pipe }, path } : { type: 'pipe', pipe };
  }

  private path(): string[] {
    const path: string[] = [];
    for (let token = this.tokens[this.at]; token?.kind === 'field' && !token.spaceBefore; token = this.tokens[this.at]) {
      path.push(token.text.slice(1));
      this.at++;
    }
    return path;
  }
}
