/**
 * What the app asks of whatever is behind it: memory, Redis or Postgres. One `Stores` per process (and per worker thread);
 * none of its methods throws or rejects because a server is away, they fall back to what this instance knows.
 */
import type { Platform } from 'svelte-adapter-uws';

export type Kind = 'memory' | 'redis' | 'postgres' | 'redis+postgres';

/** Something that is kept, in a list of its own kind: a chat message, a todo. */
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
  /** Takes the adapter's own platform, through which events of other instances reach the clients of this one. Called with
   * every connection; the first call counts. */
  activate(platform: Platform): void;
  /** The same platform, whose `publish` reaches the clients of all instances, and which has `replay`. Always the same
   * object for the same platform. */
  wrap(platform: Platform): Platform & { replay: ReplaySource };
}

/** What svelte-realtime looks for as `platform.replay`. */
export interface ReplaySource {
  publish(platform: Platform, topic: string, event: string, data: unknown): Promise<boolean>;
  seq(topic: string): Promise<number>;
  /** Null where the events after `seq` are not all known any more: the caller loads everything anew. */
  since(topic: string, seq: number): Promise<LogEvent[] | null>;
}

/** Topics whose events are kept: each has its list of items, and its latest events with sequence numbers for who was away. */
export interface Log {
  /** Numbers and keeps the event, applies it to the topic's items, and publishes it to the clients of all instances. */
  append<T extends Item>(platform: Platform, topic: string, event: LogEventName, data: T): Promise<LogEvent>;
  /** In the order they were created. */
  items<T extends Item>(topic: string): Promise<T[]>;
  seq(topic: string): Promise<number>;
  since(topic: string, seq: number): Promise<LogEvent[] | null>;
}

export interface Person {
  /** The visitor's id: who has several tabs open is one person. */
  key: string;
  name: string;
  hue: number;
  role: string;
}

/** Who is in which room, on any instance. Publishes `join` (a Person) and `leave` ({ key }) to `presence:<room>`. */
export interface Presence {
  /** `connection` is an id of the WebSocket, unique among all instances. */
  join(room: string, connection: string, person: Person): Promise<void>;
  leave(room: string, connection: string): Promise<void>;
  /** Leaves all rooms: the connection has closed. */
  gone(connection: string): Promise<void>;
  list(room: string): Promise<Person[]>;
}

export interface RateLimitRule {
  /** So many at once, and so many more per interval. */
  points: number;
  intervalMs: number;
}

export interface RateLimitResult {
  allowed: boolean;
  remaining: number;
  /** Until the next one is allowed. */
  resetMs: number;
}

export interface RateLimit {
  take(key: string, rule: RateLimitRule): Promise<RateLimitResult>;
}

/** `open`: the server is away, calls fail fast; `half-open`: one call tries whether it is back. */
export type Circuit = 'closed' | 'open' | 'half-open';

export interface Status {
  kind: Kind;
  /** This instance, as it names itself to others. */
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
  /** Called whenever `status()` has changed. */
  onStatus(listener: (status: Status) => void): void;
  close(): Promise<void>;
}
