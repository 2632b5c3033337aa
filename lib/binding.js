'use strict';
// Finds and loads the native addon for this platform.

const fs = require('node:fs');
const path = require('node:path');

/** Where the runtime's executable names its dynamic linker, in the first segments of the file. */
const ELF_START = 4096;

/**
 * musl and glibc binaries are not interchangeable. The runtime's dynamic linker tells which it is; Node's own report, for
 * an executable that names none, takes as long as everything else here together.
 */
function libc() {
  if (process.platform !== 'linux') return '';
  const start = executableStart();
  if (start.includes('/ld-musl-')) return '-musl';
  if (start.includes('/ld-linux')) return '-gnu';
  const { report } = process;
  if (!report?.getReport) return '-gnu';
  // Without this the report would look up the name of every open connection's peer.
  report.excludeNetwork = true;
  return report.getReport().header.glibcVersionRuntime ? '-gnu' : '-musl';
}

function executableStart() {
  const bytes = Buffer.alloc(ELF_START);
  try {
    const file = fs.openSync(process.execPath);
    fs.readSync(file, bytes, 0, ELF_START, 0);
    fs.closeSync(file);
  } catch {
    // Not readable: the report has to tell.
  }
  return bytes;
}

function fileName() {
  return `uws-rs.${process.platform}-${process.arch}${libc()}.node`;
}

function find() {
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
