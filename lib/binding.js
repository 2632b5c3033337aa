'use strict';
// The native addon and what both sides of it share.

const { find } = require('./binaries');
const { CALL_ARG_WORDS, LAYOUT } = require('./layout');
const { VERSION } = require('./version');

/** The native functions that are called per event and per message; `start` in lib/engine.js fills it. */
const calls = {};
/**
 * The memory through which the most frequent native calls get numbers and return them. This is cheaper than
 * passing arguments.
 */
const callArgs = new Uint32Array(new ArrayBuffer(CALL_ARG_WORDS * Uint32Array.BYTES_PER_ELEMENT));

let loaded;

/** Loads the addon. Finding it takes a while, so this is done once. */
function load() {
  return (loaded ??= checked(find()));
}

/** Refuses an addon that understands other numbers than lib/ does, or is of another version. */
function checked({ native, name }) {
  if (native.layout?.() === LAYOUT && native.version?.() === VERSION) return native;
  throw require('./unloadable').mismatched(native, name);
}

module.exports = { load, calls, callArgs };
