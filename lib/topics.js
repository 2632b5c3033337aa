'use strict';
// Topic names and how many subscribe to each: what must be answered synchronously. Delivery follows the table in the
// loop, which knows topics by number.

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

module.exports = { Topics };
