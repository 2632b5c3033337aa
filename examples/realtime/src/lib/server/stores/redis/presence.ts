/**
 * The people in each room, on any instance. Each instance says regularly that it is alive. The first one to
 * find another silent for too long removes its people and tells all instances. (Redis 7.4 can expire the
 * fields of a hash by itself; this runs on older ones too, and tells who has left.)
 */
import type { Platform } from 'svelte-adapter-uws';
import { INSTANCE } from '../instance';
import { PRESENCE_TTL_MS, presenceTopic } from '../topics';
import type { Person, Presence } from '../types';
import { PREFIX, type RedisClient } from './client';

export type PresenceMessage = { kind: 'presence'; room: string } & (
  { event: 'join'; data: Person } | { event: 'leave'; data: { key: string } }
);

const HERE = { relay: false };

export class RedisPresence implements Presence {
  #redis: RedisClient;
  #platform: Platform | undefined;
  /** The connections of this instance, with their rooms. */
  #own = new Map<string, Map<string, Person>>();
  /** The people in the rooms that were asked for here, as far as known. */
  #known = new Map<string, Map<string, Person>>();
  /**
   * By room, the people whose coming the clients of this instance were told. A list that was fetched says
   * nothing of that: it may be here before the message of who is new in it.
   */
  #told = new Map<string, Set<string>>();
  /** The people who left while Redis was away. */
  #unsaid: { room: string; connection: string; person: Person }[] = [];
  /** Until then other instances may not have had the time to say that they are alive. */
  #graceUntil = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(redis: RedisClient) {
    this.#redis = redis;
  }

  activate(platform: Platform): void {
    if (this.#platform) return;
    this.#platform = platform;
    void this.#beat();
    this.#timer = setInterval(() => void this.#beat(), PRESENCE_TTL_MS / 3);
    this.#timer.unref();
  }

  async join(room: string, connection: string, person: Person): Promise<void> {
    let rooms = this.#own.get(connection);
    if (!rooms) this.#own.set(connection, (rooms = new Map()));
    rooms.set(room, person);
    await this.#redis.circuit.attempt(
      () => this.#enter(room, connection, person),
      () => this.#tellHere({ kind: 'presence', room, event: 'join', data: person }),
    );
  }

  async leave(room: string, connection: string): Promise<void> {
    const rooms = this.#own.get(connection);
    const person = rooms?.get(room);
    if (!person) return;
    rooms!.delete(room);
    if (rooms!.size === 0) this.#own.delete(connection);
    await this.#redis.circuit.attempt(
      () => this.#exit(room, connection, person),
      () => {
        this.#unsaid.push({ room, connection, person });
        const { key } = person;
        if (!this.#ownPeople(room).has(key))
          this.#tellHere({ kind: 'presence', room, event: 'leave', data: { key } });
      },
    );
  }

  async gone(connection: string): Promise<void> {
    const rooms = [...(this.#own.get(connection)?.keys() ?? [])];
    await Promise.all(rooms.map((room) => this.leave(room, connection)));
  }

  async list(room: string): Promise<Person[]> {
    const found = await this.#redis.circuit.attempt(
      async () => {
        const list = await this.#fetch(room);
        this.#known.set(room, list);
        return list;
      },
      () => new Map([...(this.#known.get(room) ?? []), ...this.#ownPeople(room)]),
    );
    return [...found.values()];
  }

  /** Handles the message of an instance that a person has come or gone. */
  receive(message: PresenceMessage): void {
    this.#tell(message, HERE);
  }

  /** Tells Redis who is here, and clients who has come and gone while it was away. */
  async resync(): Promise<void> {
    this.#graceUntil = Date.now() + PRESENCE_TTL_MS / 2;
    await this.#beat(true);
    for (const room of this.#known.keys()) {
      const now = await this.#redis.circuit.attempt(
        () => this.#fetch(room),
        () => undefined,
      );
      if (!now) return;
      const before = [...(this.#known.get(room)?.keys() ?? []), ...(this.#told.get(room) ?? [])];
      for (const key of new Set(before)) {
        if (!now.has(key)) this.receive({ kind: 'presence', room, event: 'leave', data: { key } });
      }
      for (const person of now.values())
        this.receive({ kind: 'presence', room, event: 'join', data: person });
    }
  }

  /** The people of an instance that ends regularly are removed at once. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    await Promise.all([...this.#own.keys()].map((connection) => this.gone(connection)));
  }

  async #beat(anew = false): Promise<void> {
    const sweep = Date.now() >= this.#graceUntil ? 1 : 0;
    const args = [INSTANCE, PRESENCE_TTL_MS, this.#redis.channel, PREFIX, sweep];
    await this.#redis.circuit.attempt(
      async () => {
        const unknown = await this.#redis.script('presenceBeat', [`${PREFIX}instances`], args);
        if (unknown || anew) await this.#sayAll();
      },
      () => undefined,
    );
  }

  async #sayAll(): Promise<void> {
    for (let left; (left = this.#unsaid[0]); this.#unsaid.shift()) {
      await this.#exit(left.room, left.connection, left.person);
    }
    const all: Promise<void>[] = [];
    for (const [connection, rooms] of this.#own) {
      for (const [room, person] of rooms) all.push(this.#enter(room, connection, person));
    }
    await Promise.all(all);
  }

  async #enter(room: string, connection: string, person: Person): Promise<void> {
    const message: PresenceMessage = { kind: 'presence', room, event: 'join', data: person };
    const args = [field(connection), JSON.stringify(person), person.key, room];
    args.push(this.#redis.channel, JSON.stringify(message));
    await this.#redis.script('presenceJoin', [people(room), count(room), `${PREFIX}rooms:${INSTANCE}`], args);
  }

  async #exit(room: string, connection: string, { key }: Person): Promise<void> {
    const message: PresenceMessage = { kind: 'presence', room, event: 'leave', data: { key } };
    const args = [field(connection), key, this.#redis.channel, JSON.stringify(message)];
    await this.#redis.script('presenceLeave', [people(room), count(room)], args);
  }

  async #fetch(room: string): Promise<Map<string, Person>> {
    const redis = await this.#redis.commands();
    const list = Object.values(await redis.hgetall(people(room))).map((text) => JSON.parse(text) as Person);
    return new Map(list.map((person) => [person.key, person]));
  }

  #ownPeople(room: string): Map<string, Person> {
    const found = new Map<string, Person>();
    for (const rooms of this.#own.values()) {
      const person = rooms.get(room);
      if (person) found.set(person.key, person);
    }
    return found;
  }

  /** Whether the clients have yet to be told that somebody has come; from now on they have been. */
  #isNews(room: string, key: string): boolean {
    const told = this.#told.get(room) ?? new Set();
    this.#told.set(room, told);
    const isNews = !told.has(key);
    told.add(key);
    return isNews;
  }

  /** Publishes to the clients of this process, its other workers included. */
  #tellHere(message: PresenceMessage): void {
    this.#tell(message, undefined);
  }

  #tell(message: PresenceMessage, options: { relay: boolean } | undefined): void {
    const known = this.#known.get(message.room);
    const { key } = message.data;
    if (message.event === 'leave') {
      known?.delete(key);
      this.#told.get(message.room)?.delete(key);
    } else {
      known?.set(key, message.data);
      if (!this.#isNews(message.room, key)) return;
    }
    this.#platform?.publish(presenceTopic(message.room), message.event, message.data, options);
  }
}

const people = (room: string) => `${PREFIX}presence:{${room}}`;
const count = (room: string) => `${people(room)}:count`;
const field = (connection: string) => `${INSTANCE}|${connection}`;
