/** The state of one topic: its items in the order in which they were created, and its latest events. */
import { ITEMS, REPLAYED } from './topics';
import type { Item, LogEvent } from './types';

export class TopicState {
  seq = 0;
  #items = new Map<string, Item>();
  #events: LogEvent[] = [];
  /** The sequence number of the last event that is forgotten. */
  #forgotten = 0;

  apply(entry: LogEvent): void {
    this.seq = entry.seq;
    this.#events.push(entry);
    if (this.#events.length > 2 * REPLAYED) {
      const dropped = this.#events.splice(0, this.#events.length - REPLAYED);
      this.#forgotten = dropped[dropped.length - 1].seq;
    }
    if (entry.event === 'deleted') this.#items.delete(entry.data.id);
    else this.#items.set(entry.data.id, entry.data);
    if (this.#items.size > ITEMS) this.#items.delete(this.#items.keys().next().value!);
  }

  items(): Item[] {
    return [...this.#items.values()];
  }

  /**
   * Returns the events after that number; null where some are forgotten, or where the number is of another
   * log.
   */
  since(seq: number): LogEvent[] | null {
    if (seq < this.#forgotten || seq > this.seq) return null;
    return this.#events.filter((entry) => entry.seq > seq);
  }
}
