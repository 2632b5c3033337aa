/**
 * The people in each room, among the worker threads of this process. Each thread tells the others its
 * changes, everything it knows when a new one asks, and that it is alive. The people of a thread that has
 * been silent for long are removed.
 */
import { BroadcastChannel, isMainThread } from 'node:worker_threads';
import type { Platform } from 'svelte-adapter-uws';
import { PRESENCE_TTL_MS, presenceTopic } from './topics';
import type { Person, Presence } from './types';

/** The person of each connection, by room. */
type Rooms = Map<string, Map<string, Person>>;

type Note =
  | { from: string; kind: 'hello' | 'alive' }
  | { from: string; kind: 'all'; rooms: Rooms }
  | { from: string; kind: 'join'; room: string; connection: string; person: Person }
  | { from: string; kind: 'leave'; room: string; connection: string };

export class LocalPresence implements Presence {
  #instance: string;
  #rooms = new Map<string, Rooms>();
  #heard = new Map<string, number>();
  #platform: Platform | undefined;
  #channel: BroadcastChannel | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(instance: string) {
    this.#instance = instance;
    this.#rooms.set(instance, new Map());
    if (!isMainThread) this.#connect();
  }

  activate(platform: Platform): void {
    this.#platform ??= platform;
  }

  async join(room: string, connection: string, person: Person): Promise<void> {
    const isNew = !this.#has(room, person.key);
    this.#enter(this.#instance, room, connection, person);
    this.#tell({ from: this.#instance, kind: 'join', room, connection, person });
    if (isNew) this.#platform?.publish(presenceTopic(room), 'join', person);
  }

  async leave(room: string, connection: string): Promise<void> {
    const person = this.#exit(this.#instance, room, connection);
    if (!person) return;
    this.#tell({ from: this.#instance, kind: 'leave', room, connection });
    if (!this.#has(room, person.key)) this.#publishLeave(room, person.key);
  }

  async gone(connection: string): Promise<void> {
    const rooms = [...this.#rooms.get(this.#instance)!.keys()];
    await Promise.all(rooms.map((room) => this.leave(room, connection)));
  }

  async list(room: string): Promise<Person[]> {
    const people = new Map<string, Person>();
    for (const rooms of this.#rooms.values()) {
      for (const person of rooms.get(room)?.values() ?? []) people.set(person.key, person);
    }
    return [...people.values()];
  }

  close(): void {
    clearInterval(this.#timer);
    this.#channel?.close();
  }

  #has(room: string, key: string): boolean {
    return [...this.#rooms.values()].some((rooms) =>
      [...(rooms.get(room)?.values() ?? [])].some((person) => person.key === key),
    );
  }

  #enter(instance: string, room: string, connection: string, person: Person): void {
    let rooms = this.#rooms.get(instance);
    if (!rooms) this.#rooms.set(instance, (rooms = new Map()));
    let people = rooms.get(room);
    if (!people) rooms.set(room, (people = new Map()));
    people.set(connection, person);
  }

  #exit(instance: string, room: string, connection: string): Person | undefined {
    const people = this.#rooms.get(instance)?.get(room);
    const person = people?.get(connection);
    people?.delete(connection);
    if (people?.size === 0) this.#rooms.get(instance)?.delete(room);
    return person;
  }

  #publishLeave(room: string, key: string): void {
    this.#platform?.publish(presenceTopic(room), 'leave', { key });
  }

  #connect(): void {
    this.#channel = new BroadcastChannel('uws-rs-example.presence');
    this.#channel.onmessage = ({ data }: { data: unknown }) => this.#hear(data as Note);
    this.#channel.unref();
    this.#tell({ from: this.#instance, kind: 'hello' });
    this.#timer = setInterval(() => this.#beat(), PRESENCE_TTL_MS / 3);
    this.#timer.unref();
  }

  #tell(note: Note): void {
    this.#channel?.postMessage(note);
  }

  #hear(note: Note): void {
    this.#heard.set(note.from, Date.now());
    if (note.kind === 'hello') {
      this.#tell({ from: this.#instance, kind: 'all', rooms: this.#rooms.get(this.#instance)! });
    } else if (note.kind === 'all') {
      this.#rooms.set(note.from, note.rooms);
    } else if (note.kind === 'join') {
      this.#enter(note.from, note.room, note.connection, note.person);
    } else if (note.kind === 'leave') {
      this.#exit(note.from, note.room, note.connection);
    }
  }

  #beat(): void {
    this.#tell({ from: this.#instance, kind: 'alive' });
    const deadline = Date.now() - PRESENCE_TTL_MS;
    for (const [instance, at] of this.#heard) if (at < deadline) this.#bury(instance);
  }

  /** Every worker finds out by itself and tells its own clients. */
  #bury(instance: string): void {
    const rooms = this.#rooms.get(instance);
    this.#heard.delete(instance);
    this.#rooms.delete(instance);
    for (const [room, people] of rooms ?? []) {
      for (const { key } of people.values()) if (!this.#has(room, key)) this.#publishHere(room, key);
    }
  }

  #publishHere(room: string, key: string): void {
    this.#platform?.publish(presenceTopic(room), 'leave', { key }, { relay: false });
  }
}
