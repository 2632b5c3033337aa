/**
 * A Log whose events a server numbers, keeps, and sends to all instances that share it, the writer included.
 * So every client gets a topic's events in the order of their numbers, whichever instance it is connected to.
 * While the server is away, events reach the clients of this process at once and wait here. Once it is back
 * they are written, and the events of other instances are delivered.
 */
import { randomUUID } from 'node:crypto';
import type { Platform } from 'svelte-adapter-uws';
import { Away, type Circuit } from './circuit';
import { PROCESS } from './instance';
import { Known } from './known';
import type { Item, Log, LogEvent, LogEventName } from './types';

/** An event on its way to the server. */
export interface Draft {
  topic: string;
  event: LogEventName;
  data: Item;
  /** Recognises the event when it comes back. */
  ref: string;
  /** The process whose clients have it already. */
  by?: string;
}

/** An event as the server sends it. */
export interface Kept extends LogEvent {
  ref?: string | null;
  by?: string | null;
}

/**
 * The operations of a server for the log. All but the first are called within the circuit, since events may
 * have to wait there.
 */
export interface Shelf {
  /**
   * Numbers, keeps and publishes the event. With `again` it may exist already, and must not be kept twice.
   * Rejects with `Away` where there is no answer.
   */
  write(draft: Draft, again: boolean): Promise<number>;
  /** Returns the events after that number and the last number; null where they are not all kept. */
  since(topic: string, seq: number): Promise<{ seq: number; events: Kept[] | null }>;
  items(topic: string): Promise<{ seq: number; items: Item[] }>;
  seq(topic: string): Promise<number>;
  /** Restores the topic on a server that has lost it, unless another instance was faster. */
  restore(topic: string, seq: number, items: Item[], events: Kept[]): Promise<void>;
}

interface Topic {
  known: Known<Kept> | undefined;
  /** Events that are delivered here and not written yet. */
  pending: Draft[];
  /** The operations on the topic, which run one after the other. */
  tail: Promise<void>;
  /** The time at which it was last used. */
  used: number;
}

/** The number of pending events that are written at a time. */
const FLUSHED = 50;

/**
 * From so many topics on, those are forgotten that are empty, were not used for so many milliseconds, and
 * have no subscriber here: anybody may make up names. One with subscribers stays, since what others write
 * to it while the server is away must reach them.
 */
const MANY = 1000;
const UNUSED = 60_000;

/** The adapter must not number these: the numbers that clients have are those of the log. */
const UNNUMBERED = { seq: false } as object;
const HERE = { ...UNNUMBERED, relay: false };

export class SharedLog implements Log {
  #shelf: Shelf;
  #circuit: Circuit;
  #topics = new Map<string, Topic>();
  #sweptAt = MANY;
  /** References of events that are being written, with the number of those that have come back already. */
  #underWay = new Map<string, number | undefined>();
  /** Events that were delivered here and may come back from the server without a reference. */
  #delivered = new Set<string>();
  #platform: Platform | undefined;
  #catchingUp: Promise<unknown> | undefined;
  #flushing: Promise<void> | undefined;

  constructor(circuit: Circuit, shelf: Shelf) {
    this.#circuit = circuit;
    this.#shelf = shelf;
  }

  activate(platform: Platform): void {
    this.#platform ??= platform;
  }

  /**
   * The platform that this is called with reaches other processes too, which publishes of the log must not.
   */
  async append(_platform: Platform, name: string, event: LogEventName, data: Item): Promise<LogEvent> {
    const draft: Draft = { topic: name, event, data, ref: randomUUID().slice(0, 13) };
    const topic = this.#topic(name);
    // A server that has forgotten the topic must not count anew before it is told where it was.
    await this.#catchingUp;
    if (topic.pending.length === 0) {
      try {
        const seq = await this.#write(draft);
        return { seq, topic: name, event, data };
      } catch (error) {
        if (!(error instanceof Away)) throw error;
        // Waiting events are written when the circuit closes. So it has to be open, even if this call was the
        // only one to fail.
        this.#circuit.trip();
      }
    }
    return this.#keepForLater(draft);
  }

  async items<T extends Item>(name: string): Promise<T[]> {
    const topic = this.#topic(name);
    const items = await this.#circuit.attempt(
      async () => {
        const found = await this.#shelf.items(name);
        topic.known ??= new Known<Kept>(found.seq);
        topic.known.load(found.seq, found.items);
        return overlay(found.items, topic);
      },
      () => topic.known?.items(unwritten(topic)) ?? overlay([], topic),
    );
    return items as T[];
  }

  /** The number of the last event that is written; pending events will get numbers after it. */
  async seq(name: string): Promise<number> {
    return this.#circuit.attempt(
      () => this.#shelf.seq(name),
      () => this.#topic(name).known?.seq ?? 0,
    );
  }

  async since(name: string, seq: number): Promise<LogEvent[] | null> {
    const topic = this.#topic(name);
    const events = await this.#circuit.attempt<LogEvent[] | null>(
      async () => {
        const found = await this.#shelf.since(name, seq);
        topic.known ??= new Known<Kept>(found.seq);
        return found.events?.map(plain) ?? null;
      },
      () => topic.known?.since(seq)?.map(plain) ?? null,
    );
    return events && [...events, ...unwritten(topic)];
  }

  /**
   * Handles the server's message that somebody wrote an event; without `data` where it is too large for a
   * message.
   */
  receive(entry: Kept | { topic: string; seq: number }): void {
    const topic = this.#topic(entry.topic);
    this.#queue(topic, async () => {
      const known = (topic.known ??= new Known<Kept>(entry.seq - 1));
      if (entry.seq <= known.seq) return;
      if ('data' in entry && entry.seq === known.seq + 1) this.#accept(known, entry);
      else await this.#catchUp(entry.topic, known);
    });
  }

  /**
   * Loads the events that were missed while the server, or the connection to it, was away, and writes the
   * pending ones.
   */
  async resync(): Promise<void> {
    for (const [name, topic] of this.#topics) {
      const { known } = topic;
      if (known) this.#queue(topic, () => this.#catchUp(name, known));
    }
    const caughtUp = Promise.all([...this.#topics.values()].map((topic) => topic.tail));
    this.#catchingUp = caughtUp;
    await caughtUp;
    if (this.#catchingUp === caughtUp) this.#catchingUp = undefined;
    this.#flushing ??= this.#flush().finally(() => (this.#flushing = undefined));
    await this.#flushing;
  }

  #topic(name: string): Topic {
    let topic = this.#topics.get(name);
    if (!topic) {
      if (this.#topics.size >= this.#sweptAt) this.#sweep();
      topic = { known: undefined, pending: [], tail: Promise.resolve(), used: 0 };
      this.#topics.set(name, topic);
    }
    topic.used = Date.now();
    return topic;
  }

  #sweep(): void {
    const limit = Date.now() - UNUSED;
    for (const [name, { known, pending, used }] of this.#topics) {
      const isEmpty = pending.length === 0 && (known?.seq ?? 0) === 0;
      if (isEmpty && used < limit && this.#platform?.subscribers(name) === 0) this.#topics.delete(name);
    }
    this.#sweptAt = Math.max(MANY, 2 * this.#topics.size);
  }

  /** An event that has come back is written, even if the answer is late. */
  async #write(draft: Draft): Promise<number> {
    this.#underWay.set(draft.ref, undefined);
    try {
      return await this.#shelf.write(draft, false);
    } catch (error) {
      const seq = this.#underWay.get(draft.ref);
      if (seq === undefined) throw error;
      return seq;
    } finally {
      this.#underWay.delete(draft.ref);
    }
  }

  /** This fails when the connection does: the next resync does it again. */
  #queue(topic: Topic, task: () => Promise<void>): void {
    topic.tail = topic.tail.then(task).catch((error: unknown) => {
      if (!(error instanceof Away)) console.error('realtime log:', error);
    });
  }

  #keepForLater({ topic: name, event, data, ref }: Draft): LogEvent {
    const topic = this.#topic(name);
    topic.pending.push({ topic: name, event, data, ref, by: PROCESS });
    this.#delivered.add(ref);
    this.#platform?.publish(name, event, data, UNNUMBERED);
    return { seq: topic.known?.seq ?? 0, topic: name, event, data };
  }

  #accept(known: Known<Kept>, entry: Kept): void {
    known.apply(entry);
    const ref = entry.ref ?? '';
    if (this.#underWay.has(ref)) this.#underWay.set(ref, entry.seq);
    const here = this.#delivered.delete(ref) || entry.by === PROCESS;
    if (!here) this.#deliver(entry);
  }

  #deliver({ topic, event, data }: LogEvent): void {
    this.#platform?.publish(topic, event, data, HERE);
  }

  async #catchUp(name: string, known: Known<Kept>): Promise<void> {
    const { seq, events } = await this.#circuit.run(() => this.#shelf.since(name, known.seq));
    if (seq < known.seq) await this.#restore(name, known);
    else if (events) for (const entry of events) this.#accept(known, entry);
    else await this.#jump(name, known);
  }

  /** The server has forgotten what was written. */
  async #restore(name: string, known: Known<Kept>): Promise<void> {
    if (known.loaded) {
      const events = known.events();
      await this.#circuit.run(() => this.#shelf.restore(name, known.seq, known.items(), events));
    }
    const seq = await this.#circuit.run(() => this.#shelf.seq(name));
    if (seq < known.seq) await this.#jump(name, known);
  }

  async #jump(name: string, known: Known<Kept>): Promise<void> {
    const { seq, items } = await this.#circuit.run(() => this.#shelf.items(name));
    for (const change of known.jump(name, seq, items)) this.#deliver(change);
  }

  async #flush(): Promise<void> {
    try {
      for (const topic of this.#topics.values()) {
        for (
          let some;
          (some = topic.pending.slice(0, FLUSHED)).length > 0;
          topic.pending.splice(0, some.length)
        ) {
          await Promise.all(some.map((draft) => this.#shelf.write(draft, true)));
        }
      }
    } catch (error) {
      if (!(error instanceof Away)) throw error;
      this.#circuit.trip();
    }
  }
}

function plain({ seq, topic, event, data }: LogEvent): LogEvent {
  return { seq, topic, event, data };
}

/** Returns pending events, with a number that is safe for clients to come back with. */
function unwritten({ pending, known }: Topic): LogEvent[] {
  return pending.map((draft) => plain({ ...draft, seq: known?.seq ?? 0 }));
}

function overlay(items: Item[], topic: Topic): Item[] {
  if (topic.pending.length === 0) return items;
  const known = new Known(0);
  known.load(0, items);
  return known.items(unwritten(topic));
}
