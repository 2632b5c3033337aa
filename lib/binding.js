'use strict';
// Finds and loads the native addon for this platform.

const fs = require('fs');
const path = require('path');
const { CALL_ARG_WORDS, LAYOUT } = require('./layout');

const PLATFORM = `${process.platform}-${process.arch}`;

/**
 * Binaries for musl and for glibc are not interchangeable. Node reports a glibc version only when it runs on
 * glibc.
 */
function libc() {
  const { report } = process;
  if (process.platform !== 'linux' || !report?.getReport) return '';
  const { excludeNetwork } = report;
  // Otherwise the report would look up the host name of the peer of every open connection.
  report.excludeNetwork = true;
  const { glibcVersionRuntime } = report.getReport().header;
  report.excludeNetwork = excludeNetwork;
  return glibcVersionRuntime ? '-gnu' : '-musl';
}

function fileName() {
  return `uws-rs.${PLATFORM}${libc()}.node`;
}

/**
 * Creating the report takes longer than everything else at startup, so it is used only where several binaries
 * are present.
 */
function present() {
  const names = ['', '-gnu', '-musl'].map((abi) => `uws-rs.${PLATFORM}${abi}.node`);
  const there = names.filter((name) => fs.existsSync(path.join(__dirname, '..', name)));
  return there.length === 1 ? there[0] : fileName();
}

function find() {
  if (process.platform === 'win32') {
    throw new Error('uws-rs does not support Windows: it needs Linux or macOS; WSL works.');
  }
  const name = present();
  try {
    return require(path.join(__dirname, '..', name));
  } catch (error) {
    if (error.code !== 'MODULE_NOT_FOUND') throw error;
    throw new Error(`uws-rs has no binary for this platform (${name}); 'npm run build' makes one.`, {
      cause: error,
    });
  }
}

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

/** Refuses an addon that understands other numbers than lib/ does. */
function checked(native) {
  if (native.layout?.() === LAYOUT) return native;
  throw new Error(
    `The addon (${present()}) and lib/ of uws-rs are of different builds; 'npm run build' makes an addon for this lib/.`,
  );
}

module.exports = { load, calls, callArgs };
