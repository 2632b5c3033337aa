import { randomUUID } from 'node:crypto';
import type { Visitor } from '$lib/visitor';

/** The data of a WebSocket: its visitor, and an id of its own, since a visitor may have several tabs. */
export interface Connection extends Visitor {
  connection: string;
  /** The rooms that it is in. */
  rooms: Set<string>;
}

export function connectionOf(visitor: Visitor): Connection {
  return { ...visitor, connection: randomUUID(), rooms: new Set() };
}
