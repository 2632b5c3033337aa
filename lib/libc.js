'use strict';
// The C library of the process. Binaries for musl and for glibc are not interchangeable.

const path = require('path');
const { interpreterOf } = require('./elf');

/**
 * Returns the version of glibc as the runtime reports it; '' without glibc, undefined where the runtime does
 * not tell. To create the report takes longer than everything else at startup.
 */
function glibcVersion() {
  try {
    return reportedVersion(process.report);
  } catch {
    // Deno refuses it without permission.
    return undefined;
  }
}

function reportedVersion(report) {
  const { excludeNetwork } = report;
  // Otherwise the report would look up the host name of the peer of every open connection.
  report.excludeNetwork = true;
  try {
    return report.getReport().header.glibcVersionRuntime ?? '';
  } finally {
    report.excludeNetwork = excludeNetwork;
  }
}

/** Returns the file name of the loader that the running executable asks for; '' where that cannot be read. */
function loader() {
  try {
    return path.basename(interpreterOf(process.execPath));
  } catch {
    // The executable may be unreadable, or gone since it was started.
    return '';
  }
}

/** Returns 'gnu' or 'musl'; '' where a platform has one C library only. */
function libc() {
  if (process.platform !== 'linux') return '';
  const name = loader();
  if (/musl/.test(name)) return 'musl';
  if (/ld-linux|ld64/.test(name)) return 'gnu';
  return glibcVersion() === '' ? 'musl' : 'gnu';
}

module.exports = { glibcVersion, libc };
