import { call, type TemplateFunction } from './template-functions.js';
import { type Block, type Node, type Operand, type Pipe, parseTemplate, TemplateError } from './template-parse.js';
import { show, isTrue } from './template-value.js';

export { TemplateError } from './template-parse.js';

/** A template, ready to be run on values again and again. */
export type Template = (data: unknown) => string;

/**
 * Compiles the part of Go's text/template that Docker's --format documents and people use: fields, variables, pipelines,
 * if, else, with, range, break, continue, trimming, and the functions of both. Values are what JSON gives, or objects whose
 * members may be functions, which are called with the arguments that follow them (`{{.Label "x"}}`).
 *
 * @throws TemplateError where the text is no template; the result throws it where a value does not fit
 */
export const compile = (text: string, options: { missing?: 'error' | 'no value' } = {}): Template => {
  const nodes = parseTemplate(text);
  const strict = options.missing === 'error';
  return (data) => new Run(strict, data).render(nodes);
};

class LoopSignal {
  constructor(readonly kind: 'break' | 'continue') {}
}

class Run {
  private readonly scopes: Map<string, unknown>[];
  private out = '';
  constructor(
    private readonly strict: boolean,
    private readonly root: unknown,
  ) {
    this.scopes = [new Map([['$', root]])];
  }

  render(nodes: readonly Node[]): string {
    this.list(nodes, this.root);
    return this.out;
  }

  private list(nodes: readonly Node[], dot: unknown): void {
    for (const node of nodes) this.node(node, dot);
  }

  private node(node: Node, dot: unknown): void {
    switch (node.type) {
      case 'text':
        this.out += node.text;
        return;
      case 'action': {
        const value = this.pipe(node.pipe, dot);
        if (node.pipe.declares.length === 0) this.out += show(value);
        return;
      }
      case 'break':
      case 'continue':
        throw new LoopSignal(node.type);
      case 'if':
      case 'with':
        this.scoped(() => {
          const value = this.pipe(node.pipe, dot);
          if (isTrue(value)) this.list(node.body, node.type === 'with' ? value : dot);
          else this.list(node.otherwise, dot);
        });
        return;
      case 'range':
        this.scoped(() => this.range(node, dot));
    }
  }

  private range(node: Block, dot: unknown): void {
    const value = this.pipe({ ...node.pipe, declares: [] }, dot);
    const entries = entriesOf(value);
    if (entries.length === 0) return this.list(node.otherwise, dot);
    const names = node.pipe.declares;
    for (const [key, item] of entries) {
      try {
        this.scoped(() => {
          if (names.length === 2) this.declare(names[0] as string, key);
          if (names.length > 0) this.declare(names.at(-1) as string, item);
          this.list(node.body, item);
        });
      } catch (signal) {
        if (!(signal instanceof LoopSignal)) throw signal;
        if (signal.kind === 'break') return;
      }
    }
  }

  private scoped(run: () => void): void {
    this.scopes.push(new Map());
    try {
      run();
    } finally {
      this.scopes.pop();
    }
  }

  private declare(name: string, value: unknown): void {
    (this.scopes.at(-1) as Map<string, unknown>).set(name, value);
  }

  private pipe(pipe: Pipe, dot: unknown): unknown {
    let value: unknown;
    let piped = false;
    for (const command of pipe.commands) {
      value = this.command(command, dot, piped ? [value] : []);
      piped = true;
    }
    for (const name of pipe.declares) {
      if (!pipe.assigns) this.declare(name, value);
      else {
        const scope = this.scopes.findLast((each) => each.has(name));
        if (!scope) throw new TemplateError(`undefined variable "${name}"`);
        scope.set(name, value);
      }
    }
    return value;
  }

  private command(words: readonly Operand[], dot: unknown, piped: unknown[]): unknown {
    const [first, ...rest] = words as [Operand, ...Operand[]];
    const extra = (): unknown[] => [...rest.map((word) => this.operand(word, dot)), ...piped];
    if (first.type === 'function') return this.invoke(first.name, rest, dot, piped);
    if (first.type === 'field' || first.type === 'variable' || first.type === 'chain') return this.operand(first, dot, extra());
    if (rest.length > 0 || piped.length > 0) throw new TemplateError(`can't give argument to non-function ${first.type}`);
    return this.operand(first, dot);
  }

  private invoke(name: string, words: readonly Operand[], dot: unknown, piped: unknown[]): unknown {
    // `and` and `or` stop at the first value that decides, so their arguments may not all be looked at.
    if (name === 'and' || name === 'or') {
      let value: unknown;
      for (const word of [...words.map((each) => () => this.operand(each, dot)), ...piped.map((each) => () => each)]) {
        value = word();
        if (isTrue(value) === (name === 'or')) return value;
      }
      return value;
    }
    return call(name, [...words.map((word) => this.operand(word, dot)), ...piped]);
  }

  private operand(word: Operand, dot: unknown, args: unknown[] = []): unknown {
    switch (word.type) {
      case 'literal':
        return word.value;
      case 'dot':
        return dot;
      case 'nil':
        throw new TemplateError('nil is not a command');
      case 'function':
        return this.invoke(word.name, [], dot, args);
      case 'pipe':
        return this.pipe(word.pipe, dot);
      case 'field':
        return this.fields(dot, word.path, args);
      case 'chain':
        return this.fields(this.operand(word.of, dot), word.path, args);
      case 'variable': {
        const scope = this.scopes.findLast((each) => each.has(word.name));
        if (!scope) throw new TemplateError(`undefined variable "${word.name}"`);
        return this.fields(scope.get(word.name), word.path, args);
      }
    }
  }

  private fields(from: unknown, path: readonly string[], args: unknown[]): unknown {
    let value = from;
    for (const [at, name] of path.entries()) {
      const last = at === path.length - 1;
      if (value === null || value === undefined) {
        if (this.strict && value === null) throw new TemplateError(`nil data; no entry for key "${name}"`);
        return undefined;
      }
      if (typeof value !== 'object') throw new TemplateError(`can't evaluate field ${name} in type ${typeof value}`);
      if (Array.isArray(value)) throw new TemplateError(`can't evaluate field ${name} in type []interface {}`);
      const holder = value as Record<string, unknown>;
      if (!Object.hasOwn(holder, name)) {
        if (this.strict) throw new TemplateError(`map has no entry for key "${name}"`);
        return undefined;
      }
      const member = holder[name];
      if (typeof member === 'function') value = (member as TemplateFunction)(...(last ? args : []));
      else if (last && args.length > 0) throw new TemplateError(`${name} is not a method but has arguments`);
      else value = member;
    }
    return value;
  }
}

const entriesOf = (value: unknown): [unknown, unknown][] => {
  if (value === null || value === undefined) return [];
  if (typeof value === 'number') return Array.from({ length: value }, (_, at) => [at, at]);
  if (Array.isArray(value)) return [...value.entries()];
  if (typeof value === 'object') {
    const holder = value as Record<string, unknown>;
    return Object.keys(holder)
      .sort()
      .map((key) => [key, holder[key]]);
  }
  throw new TemplateError(`range can't iterate over ${show(value)}`);
};
