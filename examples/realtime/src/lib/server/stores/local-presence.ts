/**
 * The people in each room, among instances: the worker threads of this process, or all that a store connects.
 * Each instance tells the others its changes, everything it knows when one asks, and that it is alive. The
 * people of an instance that has been silent for long are removed. Each instance tells its own clients who
 * comes and goes as it sees it: where two learn of something at different times, both end with the truth.
 */
import { BroadcastChannel, isMainThread } from 'node:worker_threads';
import type { Platform } from 'svelte-adapter-uws';
import { PRESENCE_TTL_MS, presenceTopic } from './topics';
import type { Person, Presence } from './types';

/** The person of each connection, by room. */
type Rooms = Map<string, Map<string, Person>>;
/** The same as it is sent. */
type Listed = [room: string, people: [connection: string, person: Person][]][];

export type Note =
  | { from: string; kind: 'hello' | 'alive' }
  | { from: string; kind: 'all'; rooms: Listed }
  | { from: string; kind: 'join'; room: string; connection: string; person: Person }
  | { from: string; kind: 'leave'; room: string; connection: string };

/** Sends a note to all other instances. */
type Tell = (note: Note) => void;

const HERE = { relay: false };

export class LocalPresence implements Presence {
  #instance: string;
  #rooms = new Map<string, Rooms>();
  #heard = new Map<string, number>();
  #platform: Platform | undefined;
  #tell: Tell = () => {};
  #timer: NodeJS.Timeout | undefined;

  constructor(instance: string) {
    this.#instance = instance;
    this.#rooms.set(instance, new Map());
  }

  activate(platform: Platform): void {
    this.#platform ??= platform;
  }

  /** From now on the notes of the others come to `hear`. */
  connect(tell: Tell): void {
    this.#tell = tell;
    this.greet();
    this.#timer = setInterval(() => this.#beat(), PRESENCE_TTL_MS / 3);
    this.#timer.unref();
  }

  /** Asks the others who is there, and tells them: notes may have been missed. */
  greet(): void {
    this.#tell({ from: this.#instance, kind: 'hello' });
    this.#tellAll();
  }

  async join(room: string, connection: string, person: Person): Promise<void> {
    this.#enter(this.#instance, room, connection, person);
    this.#tell({ from: this.#instance, kind: 'join', room, connection, person });
  }

  async leave(room: string, connection: string): Promise<void> {
    if (this.#exit(this.#instance, room, connection))
      this.#tell({ from: this.#instance, kind: 'leave', room, connection });
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
  }

  hear(note: Note): void {
    if (note.from === this.#instance) return;
    const isKnown = this.#heard.has(note.from);
    this.#heard.set(note.from, Date.now());
    if (note.kind === 'hello') this.#tellAll();
    else if (note.kind === 'all') this.#replace(note.from, note.rooms);
    else if (note.kind === 'join') this.#enter(note.from, note.room, note.connection, note.person);
    else if (note.kind === 'leave') this.#exit(note.from, note.room, note.connection);
    // It was given up, or there was none before.
    else if (!isKnown) this.greet();
  }

  #has(room: string, key: string): boolean {
    return [...this.#rooms.values()].some((rooms) =>
      [...(rooms.get(room)?.values() ?? [])].some((person) => person.key === key),
    );
  }

  #enter(instance: string, room: string, connection: string, person: Person): void {
    const isNew = !this.#has(room, person.key);
    let rooms = this.#rooms.get(instance);
    if (!rooms) this.#rooms.set(instance, (rooms = new Map()));
    let people = rooms.get(room);
    if (!people) rooms.set(room, (people = new Map()));
    people.set(connection, person);
    if (isNew) this.#platform?.publish(presenceTopic(room), 'join', person, HERE);
  }

  /** Returns false where there was no such connection. */
  #exit(instance: string, room: string, connection: string): boolean {
    const people = this.#rooms.get(instance)?.get(room);
    const person = people?.get(connection);
    if (!people || !person) return false;
    people.delete(connection);
    if (people.size === 0) this.#rooms.get(instance)?.delete(room);
    if (!this.#has(room, person.key))
      this.#platform?.publish(presenceTopic(room), 'leave', { key: person.key }, HERE);
    return true;
  }

  #tellAll(): void {
    const rooms = [...this.#rooms.get(this.#instance)!].map(([room, people]): Listed[0] => [
      room,
      [...people],
    ]);
    this.#tell({ from: this.#instance, kind: 'all', rooms });
  }

  #replace(instance: string, listed: Listed): void {
    const now = new Map(listed.map(([room, people]) => [room, new Map(people)]));
    for (const [room, people] of now) {
      for (const [connection, person] of people) this.#enter(instance, room, connection, person);
    }
    for (const [room, people] of this.#rooms.get(instance) ?? []) {
      for (const connection of people.keys())
        if (!now.get(room)?.has(connection)) this.#exit(instance, room, connection);
    }
  }

  #beat(): void {
    this.#tell({ from: this.#instance, kind: 'alive' });
    const deadline = Date.now() - PRESENCE_TTL_MS;
    for (const [instance, at] of this.#heard) if (at < deadline) this.#bury(instance);
  }

  #bury(instance: string): void {
    this.#replace(instance, []);
    this.#heard.delete(instance);
    this.#rooms.delete(instance);
  }
}

/** Connects the presence of the worker threads of this process. */
export function connectThreads(presence: LocalPresence): () => void {
  if (isMainThread) return () => {};
  const channel = new BroadcastChannel('uws-rs-example.presence');
  channel.onmessage = ({ data }: { data: unknown }) => presence.hear(data as Note);
  channel.unref();
  presence.connect((note) => channel.postMessage(note));
  return () => channel.close();
}
