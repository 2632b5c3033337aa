/**
 * The state of one kept topic as this instance knows it: the items and the latest events that it has seen.
 */
import { ITEMS, REPLAYED } from './topics';
import type { Item, LogEvent } from './types';

export class Known<Entry extends LogEvent = LogEvent> {
  /** The sequence number of the last event seen. */
  seq: number;
  #events: Entry[] = [];
  /** The items after that event; undefined where they have not been loaded. */
  #items: Map<string, Item> | undefined;
  /** The state of the store after an event that is still on its way here. */
  #ahead: { seq: number; items: Map<string, Item> } | undefined;

  constructor(seq: number) {
    this.seq = seq;
  }

  get loaded(): boolean {
    return this.#items !== undefined;
  }

  /** Adds the next event. */
  apply(entry: Entry): void {
    this.seq = entry.seq;
    this.#events.push(entry);
    if (this.#events.length > 2 * REPLAYED) this.#events.splice(0, this.#events.length - REPLAYED);
    if (this.#items) apply(this.#items, entry);
    if (!this.#ahead || this.#ahead.seq > entry.seq) return;
    if (this.#ahead.seq === entry.seq) this.#items = this.#ahead.items;
    this.#ahead = undefined;
  }

  /** Sets the items as they are in the store after that event. */
  load(seq: number, items: Item[]): void {
    if (seq === this.seq) this.#items = byId(items);
    else if (seq > this.seq) this.#ahead = { seq, items: byId(items) };
  }

  /**
   * Sets the store's state after events that cannot be had one by one. Returns events that lead there, for
   * clients to catch up.
   */
  jump(topic: string, seq: number, items: Item[]): LogEvent[] {
    const before = this.#items ?? this.#ahead?.items;
    this.#events = [];
    this.#ahead = undefined;
    this.seq = seq;
    this.#items = byId(items);
    return before ? changesBetween(topic, seq, before, items) : [];
  }

  /** Returns the latest state. `pending` are events that the store does not have yet. */
  items(pending: LogEvent[] = []): Item[] {
    const items = new Map(this.#ahead?.items ?? this.#items);
    for (const entry of pending) apply(items, entry);
    return [...items.values()];
  }

  events(): Entry[] {
    return this.#events.slice(-REPLAYED);
  }

  /** Returns the events after that number, or null where they are not all known. */
  since(seq: number): Entry[] | null {
    const first = this.#events[0]?.seq ?? this.seq + 1;
    if (seq < first - 1 || seq > this.seq) return null;
    return this.#events.filter((entry) => entry.seq > seq);
  }
}

function byId(items: Item[]): Map<string, Item> {
  return new Map(items.map((item) => [item.id, item]));
}

function apply(items: Map<string, Item>, { event, data }: LogEvent): void {
  if (event === 'deleted') items.delete(data.id);
  else items.set(data.id, data);
  if (items.size > ITEMS) items.delete(items.keys().next().value!);
}

function changesBetween(topic: string, seq: number, before: Map<string, Item>, after: Item[]): LogEvent[] {
  const changes: LogEvent[] = [];
  const gone = new Map(before);
  for (const item of after) {
    const old = gone.get(item.id);
    gone.delete(item.id);
    if (old && JSON.stringify(old) === JSON.stringify(item)) continue;
    changes.push({ seq, topic, event: old ? 'updated' : 'created', data: item });
  }
  for (const item of gone.values()) changes.push({ seq, topic, event: 'deleted', data: item });
  return changes;
}
