'use strict';
// Finds and loads the native addon for this platform.

const fs = require('fs');
const path = require('path');

const PLATFORM = `${process.platform}-${process.arch}`;

/** musl and glibc binaries are not interchangeable; Node reports a glibc version only when it runs on one. */
function libc() {
  const { report } = process;
  if (process.platform !== 'linux' || !report?.getReport) return '';
  const { excludeNetwork } = report;
  // Otherwise the report would look up the name of every open connection's peer.
  report.excludeNetwork = true;
  const { glibcVersionRuntime } = report.getReport().header;
  report.excludeNetwork = excludeNetwork;
  return glibcVersionRuntime ? '-gnu' : '-musl';
}

function fileName() {
  return `uws-rs.${PLATFORM}${libc()}.node`;
}

/** The report takes longer than all the rest of starting, so it is asked only where there is a choice. */
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

let loaded;

/** The addon; looking for it takes a while, so once. */
function load() {
  return (loaded ??= find());
}

module.exports = { load };
