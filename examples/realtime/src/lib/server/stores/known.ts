/** What this instance knows of one kept topic: the items and the latest events, as far as it has seen them. */
import { ITEMS, REPLAYED } from './topics';
import type { Item, LogEvent } from './types';

export class Known<Entry extends LogEvent = LogEvent> {
  /** Of the last event seen. */
  seq: number;
  #events: Entry[] = [];
  #items = new Map<string, Item>();
  /** The items come from the store: no older one is missing. */
  #loaded = false;
  /** Up to which event the items are. */
  #itemsSeq: number;

  constructor(seq: number) {
    this.seq = seq;
    this.#itemsSeq = seq;
  }

  get loaded(): boolean {
    return this.#loaded;
  }

  /** The next event. */
  apply(entry: Entry): void {
    this.seq = entry.seq;
    this.#events.push(entry);
    if (this.#events.length > 2 * REPLAYED) this.#events.splice(0, this.#events.length - REPLAYED);
    if (entry.seq <= this.#itemsSeq) return;
    this.#itemsSeq = entry.seq;
    apply(this.#items, entry);
  }

  /** The items as they are in the store after that event, which may be one that is still on its way here. */
  load(seq: number, items: Item[]): void {
    if (seq < this.#itemsSeq) return;
    this.#loaded = true;
    this.#itemsSeq = seq;
    this.#items = new Map(items.map((item) => [item.id, item]));
  }

  /** The store's state after events that cannot be had one by one; tells what they come to, for clients to catch up. */
  jump(topic: string, seq: number, items: Item[]): LogEvent[] {
    const changes = this.#loaded ? changesBetween(topic, seq, this.#items, items) : [];
    this.#events = [];
    this.seq = seq;
    this.#itemsSeq = 0;
    this.load(seq, items);
    return changes;
  }

  /** `pending` are events that the store does not have yet. */
  items(pending: LogEvent[] = []): Item[] {
    const items = new Map(this.#items);
    for (const entry of pending) apply(items, entry);
    return [...items.values()];
  }

  events(): Entry[] {
    return this.#events.slice(-REPLAYED);
  }

  /** The events after that number, or null where they are not all known. */
  since(seq: number): Entry[] | null {
    const first = this.#events[0]?.seq ?? this.seq + 1;
    if (seq < first - 1 || seq > this.seq) return null;
    return this.#events.filter((entry) => entry.seq > seq);
  }
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
