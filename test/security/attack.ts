import type { Json } from '../conformance/runtime-bundle.js';
import { type Arena, list } from './arena.js';

/** One way to attack the runtime. Gives what was achieved, or nothing when the defence held. */
export interface Attack {
  /** What is attacked, with the published vulnerability where there is one. */
  readonly name: string;
  attempt(arena: Arena): string | undefined;
}

/** The mounts that a specification asks for. */
export const mounts = (spec: Json): Json[] => list(spec['mounts']);
