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

/**
 * What one WebSocket is subscribed to: null for nothing, a topic, or a Map of topics by name. Nearly all have one or none,
 * and a Map takes more memory than the rest of a WebSocket.
 */
const Memberships = {
  get(held, name) {
    if (held === null) return undefined;
    if (held instanceof Map) return held.get(name);
    return held.name === name ? held : undefined;
  },
  all(held) {
    if (held === null) return [];
    return held instanceof Map ? [...held.values()] : [held];
  },
  /** `held` and a topic that is not in it. */
  with(held, topic) {
    if (held === null) return topic;
    if (held instanceof Map) return held.set(topic.name, topic);
    return new Map([held, topic].map((each) => [each.name, each]));
  },
  /** `held` but for a topic that is in it. */
  without(held, topic) {
    return held instanceof Map && held.delete(topic.name) && held.size > 0 ? held : null;
  },
};

module.exports = { Topics, Memberships };
