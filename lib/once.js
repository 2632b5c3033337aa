'use strict';
// Test runners and tools that reload a program evaluate its modules again. Each copy of this one would have a thread, descriptors
// and an `exit` listener of its own for as long as the process lives, so all copies in a realm have the same exports.

const threads = require('worker_threads');

/** Other versions, and the same one in other places, have natives of their own. */
const KEY = Symbol.for(`uws-rs ${require('../package.json').version} ${__dirname}`);

/** The first result of `make` in this realm; others, as Jest gives each test file, have their own classes. */
function once(make) {
  if (threads[KEY] === undefined) {
    // The exports of a builtin module are the one place that all copies see. Not every runtime lets them be changed.
    if (!Object.isExtensible(threads)) return make();
    Object.defineProperty(threads, KEY, { value: new WeakMap() });
  }
  const made = threads[KEY];
  // A realm is told by its intrinsics, with which its entry goes.
  if (!made.has(Object)) made.set(Object, make());
  return made.get(Object);
}

module.exports = { once };
