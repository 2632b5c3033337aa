import { randomUUID } from 'node:crypto';
import type { Visitor } from '$lib/visitor';

/** What a WebSocket carries: who it is of, and an id of its own, since a visitor may have several tabs. */
export interface Connection extends Visitor {
  connection: string;
}

export function connectionOf(visitor: Visitor): Connection {
  return { ...visitor, connection: randomUUID() };
}
