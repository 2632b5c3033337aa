/**
 * Changes that a page shows before the server has answered. They lie over the list of a stream and never
 * touch it: a refused change is taken away alone, whatever else has happened meanwhile. svelte-realtime's own
 * `optimistic` restores the whole list as it was, and its `mutate` forgets a list that is loaded meanwhile.
 */

import { inOrder, reason } from './rows';

export interface Item {
  id: string;
  text: string;
  pending?: boolean;
}

/** An item that was not accepted, as far as its author knows: it waits to be sent again, or to be let go. */
export interface Refused<T extends Item> {
  item: T;
  why: string;
  call: () => Promise<unknown>;
}

interface Change<T extends Item> {
  id: string;
  /** The item as it is shown; undefined where it is deleted. */
  item: T | undefined;
  /** The item of the stream when the change was made. */
  before: T | undefined;
  /** The stream has shown something else since. */
  seen: boolean;
  accepted: boolean;
}

/** An accepted change is shown so long at most, should the stream never show it. */
const ACCEPTED_MS = 2000;

export class Unconfirmed<T extends Item> {
  #changes = $state.raw<readonly Change<T>[]>([]);
  #refused = $state.raw<readonly Refused<T>[]>([]);
  #stream: () => T[];

  constructor(stream: () => T[]) {
    const ordered = inOrder<T>();
    this.#stream = () => ordered(stream());
  }

  /** The stream's list with the changes. */
  get list(): T[] {
    const stream = new Map(this.#stream().map((item) => [item.id, item]));
    const items = new Map(stream);
    for (const change of this.#changes) {
      const { id, item } = change;
      change.seen ||= stream.get(id) !== change.before;
      if (change.accepted && change.seen) continue;
      if (item) items.set(id, item);
      else items.delete(id);
    }
    return [...items.values()];
  }

  /** Without those that the stream shows: they were accepted, and the answer was lost. */
  get refused(): Refused<T>[] {
    const ids = new Set(this.#stream().map(({ id }) => id));
    return this.#refused.filter(({ item }) => !ids.has(item.id));
  }

  /** Shows the item while the call is under way that creates it, and returns it where that fails. */
  async create(item: T, call: () => Promise<unknown>): Promise<void> {
    try {
      await this.set(item, call);
    } catch (error) {
      this.#refused = [...this.#refused, { item, why: reason(error), call }];
    }
  }

  /** The item has the same id again, so that it is not there twice should it have been accepted. */
  again(refused: Refused<T>): void {
    this.discard(refused);
    void this.create(refused.item, refused.call);
  }

  discard(refused: Refused<T>): void {
    this.#refused = this.#refused.filter((one) => one !== refused);
  }

  /** Shows the item as it will be while the call is under way, and rejects as the call does. */
  set(item: T, call: () => Promise<unknown>): Promise<void> {
    return this.#change(item.id, { ...item, pending: true }, call);
  }

  remove(id: string, call: () => Promise<unknown>): Promise<void> {
    return this.#change(id, undefined, call);
  }

  async #change(id: string, item: T | undefined, call: () => Promise<unknown>): Promise<void> {
    const before = this.#stream().find((one) => one.id === id);
    const change: Change<T> = { id, item, before, seen: false, accepted: false };
    this.#changes = [...this.#changes, change];
    try {
      await call();
    } catch (error) {
      this.#drop(change);
      throw error;
    }
    const accepted: Change<T> = { ...change, item: item && { ...item, pending: false }, accepted: true };
    this.#changes = this.#changes.map((one) => (one === change ? accepted : one));
    setTimeout(() => this.#drop(accepted), ACCEPTED_MS);
  }

  #drop(change: Change<T>): void {
    this.#changes = this.#changes.filter((one) => one !== change);
  }
}
