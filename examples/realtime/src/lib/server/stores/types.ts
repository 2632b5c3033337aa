/**
 * The interface of the stores behind the app: memory, Redis or PostgreSQL. There is one `Stores` per process
 * (and per worker thread). None of its methods throws or rejects because a server is away; they fall back to
 * the knowledge of this instance.
 */
import type { Platform } from 'svelte-adapter-uws';

type Kind = 'memory' | 'redis' | 'postgres' | 'redis+postgres';

/** An item that is kept, in a list of its own kind: a chat message, a todo. */
export interface Item {
  id: string;
}

export type LogEventName = 'created' | 'updated' | 'deleted';

/** The shape of svelte-realtime's replayed events. */
export interface LogEvent {
  seq: number;
  topic: string;
  event: LogEventName;
  data: Item;
}

/** Publishing across instances. */
export interface Bridge {
  /**
   * Takes the adapter's own platform, through which events of other instances reach the clients of this one.
   * It is called with every connection; the first call counts.
   */
  activate(platform: Platform): void;
  /**
   * The same platform with a `publish` that reaches the clients of all instances, and with `replay`. It is
   * always the same object for the same platform.
   */
  wrap(platform: Platform): Platform & { replay: ReplaySource };
}

/** The part of the platform that svelte-realtime finds as `platform.replay`. */
export interface ReplaySource {
  publish(platform: Platform, topic: string, event: string, data: unknown): Promise<boolean>;
  seq(topic: string): Promise<number>;
  /**
   * Returns null where the events after `seq` are not all known any more: the caller loads everything anew.
   */
  since(topic: string, seq: number): Promise<LogEvent[] | null>;
}

/**
 * Topics whose events are kept. Each has its list of items, and its latest events with sequence numbers for
 * clients that were away.
 */
export interface Log {
  /**
   * Numbers and keeps the event, applies it to the topic's items, and publishes it to the clients of all
   * instances.
   */
  append<T extends Item>(platform: Platform, topic: string, event: LogEventName, data: T): Promise<LogEvent>;
  /** The items, in the order in which they were created. */
  items<T extends Item>(topic: string): Promise<T[]>;
  seq(topic: string): Promise<number>;
  since(topic: string, seq: number): Promise<LogEvent[] | null>;
}

export interface Person {
  /** The visitor's id: a visitor with several tabs is one person. */
  key: string;
  name: string;
  hue: number;
  role: string;
}

/**
 * The people in each room, on any instance. It publishes `join` (a Person) and `leave` ({ key }) to
 * `presence:<room>`.
 */
export interface Presence {
  /** `connection` is an id of the WebSocket, unique among all instances. */
  join(room: string, connection: string, person: Person): Promise<void>;
  leave(room: string, connection: string): Promise<void>;
  /** Leaves all rooms: the connection has closed. */
  gone(connection: string): Promise<void>;
  list(room: string): Promise<Person[]>;
}

export interface RateLimitRule {
  /** The size of a burst, and of the refill per interval. */
  points: number;
  intervalMs: number;
}

export interface RateLimitResult {
  allowed: boolean;
  remaining: number;
  /** The time until the next one is allowed. */
  resetMs: number;
}

export interface RateLimit {
  take(key: string, rule: RateLimitRule): Promise<RateLimitResult>;
}

/** `open`: the server is away, calls fail fast; `half-open`: one call tries whether it is back. */
export type Circuit = 'closed' | 'open' | 'half-open';

export interface Status {
  kind: Kind;
  /** The name of this instance. */
  instance: string;
  circuit: Circuit;
}

export interface Stores {
  readonly kind: Kind;
  readonly bridge: Bridge;
  readonly log: Log;
  readonly presence: Presence;
  readonly rateLimit: RateLimit;
  status(): Status;
  /** Says what does not work at present, without which the app goes on. */
  ailments(): string[];
  /** Called whenever `status()` has changed. */
  onStatus(listener: (status: Status) => void): void;
  close(): Promise<void>;
}
