'use strict';
// Topic names and how many subscribe to each: what must be answered synchronously. Delivery follows the table in the
// loop, which knows topics by number. A name is a key (lib/validate.js): topics are bytes and need not be text.

/** Numbers are unique in the environment, since all its apps share one loop, and reused. */
const freeIds = [];
let nextId = 0;

class Topics {
  #byName = new Map();

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
    return topic;
  }

  leave(topic) {
    if (--topic.count > 0) return;
    this.#byName.delete(topic.name);
    freeIds.push(topic.id);
  }
}

/** What one connection subscribes to. Most subscribe to one topic, and a Map for that would be most of their memory. */
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

  /** Whether it was there. */
  delete(topic) {
    if (this.#first === topic) {
      this.#first = null;
      return true;
    }
    return this.#more?.get(topic.name) === topic && this.#more.delete(topic.name);
  }

  /** A copy, so that handlers may subscribe and unsubscribe while it is walked through. */
  all() {
    const more = this.#more === null ? [] : this.#more.values();
    return this.#first === null ? [...more] : [this.#first, ...more];
  }
}

module.exports = { Topics, Subscriptions };
