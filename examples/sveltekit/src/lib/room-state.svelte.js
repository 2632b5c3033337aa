import { SvelteMap } from 'svelte/reactivity';
import { onReplay } from 'svelte-adapter-uws/plugins/replay/client';
import { ROOM } from './topics.js';

/**
 * The room as this tab knows it: the state that the server rendered, and the live events since. Events have
 * the room's sequence number. Workers relay to each other, so they may arrive twice or out of order: a
 * message is kept once by number, and the counter is that of the highest number.
 */
export class RoomState {
  #messages = new SvelteMap();
  #counter = $state(0);
  #counterSeq = 0;
  #seen = new Set();
  /** Every event up to this one is known. */
  #head = 0;
  #unsubscribe = () => {};

  messages = $derived([...this.#messages.values()].sort((a, b) => a.seq - b.seq));

  constructor({ messages, counter, seq }) {
    for (const message of messages) this.#messages.set(message.seq, message);
    this.#counter = counter;
    this.#counterSeq = this.#head = seq;
  }

  get counter() {
    return this.#counter;
  }

  /** Asks for all events since the last known one; called whenever the connection opens. */
  follow() {
    const before = this.#unsubscribe;
    const store = onReplay(ROOM, { since: this.#head });
    this.#unsubscribe = store.subscribe((event) => event?.data && this.#apply(event));
    before();
  }

  stop() {
    this.#unsubscribe();
    this.#unsubscribe = () => {};
  }

  #apply({ event, data }) {
    if (event === 'message') this.#messages.set(data.seq, data);
    if (event === 'count' && data.seq > this.#counterSeq) {
      this.#counter = data.counter;
      this.#counterSeq = data.seq;
    }
    this.#seen.add(data.seq);
    while (this.#seen.delete(this.#head + 1)) this.#head++;
  }
}
