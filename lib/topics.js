'use strict';
// Topic names and the number of subscribers of each, since methods have to answer synchronously. Messages are
// delivered by the loop, whose table knows topics by number. A name is a key (lib/validate.js): topics are
// bytes and need not be text.

/** Numbers are reused. They are unique in the environment, since all its apps share one loop. */
const freeIds = [];
let nextId = 0;

class Topics {
  #byName = new Map();
  /** Of all connections together. */
  subscriptions = 0;

  /** @returns {{id: number, name: string, count: number} | undefined} */
  get(name) {
    return this.#byName.get(name);
  }

  count(name) {
    return this.#byName.get(name)?.count ?? 0;
  }

  join(name) {
    let topic = this.#byName.get(name);
    if (topic === undefined) {
      topic = { id: freeIds.pop() ?? nextId++, name, count: 0 };
      this.#byName.set(name, topic);
    }
    topic.count++;
    this.subscriptions++;
    return topic;
  }

  leave(topic) {
    this.subscriptions--;
    if (--topic.count > 0) return;
    this.#byName.delete(topic.name);
    freeIds.push(topic.id);
  }
}

/**
 * The topics of one connection. Most connections subscribe to one topic, and a Map would use most of their
 * memory.
 */
class Subscriptions {
  #first = null;
  #more = null;

  get(name) {
    return this.#first !== null && this.#first.name === name ? this.#first : this.#more?.get(name);
  }

  has(name) {
    return this.get(name) !== undefined;
  }

  get size() {
    return (this.#first === null ? 0 : 1) + (this.#more?.size ?? 0);
  }

  add(topic) {
    if (this.#first === null) this.#first = topic;
    else (this.#more ??= new Map()).set(topic.name, topic);
  }

  /** Returns whether the topic was there. */
  delete(topic) {
    if (this.#first === topic) {
      this.#first = null;
      return true;
    }
    return this.#more?.get(topic.name) === topic && this.#more.delete(topic.name);
  }

  /** Returns a copy, so that handlers may subscribe and unsubscribe during an iteration. */
  all() {
    const more = this.#more === null ? [] : this.#more.values();
    return this.#first === null ? [...more] : [this.#first, ...more];
  }
}

module.exports = { Topics, Subscriptions };
