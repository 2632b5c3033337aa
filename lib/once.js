'use strict';
// Test runners and tools that reload a program evaluate its modules again. Each evaluation of this module
// would otherwise have a thread, descriptors and an `exit` listener of its own for as long as the process
// lives, so all of them in a realm share their exports.

const threads = require('worker_threads');
const { VERSION } = require('./version');

/**
 * Installations in other places have native code of their own. A bundle may not know its place; then those
 * of one version are one.
 */
const KEY = Symbol.for(`uws-rs ${typeof __dirname === 'string' ? __dirname : VERSION}`);

/**
 * Returns the first result of `make` in this realm. Other realms, such as Jest creates for each test file,
 * have their own classes.
 */
function once(make) {
  if (threads[KEY] === undefined) {
    // The exports of a builtin module are the only place that all evaluations see. Not every runtime lets
    // them be changed.
    if (!Object.isExtensible(threads)) return make();
    Object.defineProperty(threads, KEY, { __proto__: null, value: new WeakMap() });
  }
  const made = threads[KEY];
  // A realm is identified by one of its intrinsics. The entry is collected together with it.
  if (!made.has(Object)) made.set(Object, make());
  return made.get(Object);
}

module.exports = { once };
