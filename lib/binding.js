'use strict';
// Finds and loads the native addon for this platform.

const path = require('node:path');

/** musl and glibc binaries are not interchangeable; Node reports a glibc version only when it runs on one. */
function libc() {
  if (process.platform !== 'linux') return '';
  return process.report?.getReport?.().header.glibcVersionRuntime ? '-gnu' : '-musl';
}

function fileName() {
  return `uws-rs.${process.platform}-${process.arch}${libc()}.node`;
}

function find() {
  const report = process.report;
  // Without this the report would look up the name of every open connection's peer.
  if (report) report.excludeNetwork = true;
  const file = path.join(__dirname, '..', fileName());
  try {
    return require(file);
  } catch (error) {
    if (error.code !== 'MODULE_NOT_FOUND') throw error;
    throw new Error(`uws-rs has no binary for this platform (${fileName()}); 'npm run build' makes one.`, {
      cause: error,
    });
  }
}

let loaded;

/** The addon; looking for it takes a while, so once. */
function load() {
  return (loaded ??= find());
}

module.exports = { load, fileName };
