'use strict';
// The C library of the process. Binaries for musl and for glibc are not interchangeable.

const { interpreterOf } = require('./elf');

/**
 * Returns the version of glibc as the runtime reports it; '' without glibc. To create the report takes longer
 * than everything else at startup.
 */
function glibcVersion() {
  const { report } = process;
  if (!report?.getReport) return '';
  const { excludeNetwork } = report;
  // Otherwise the report would look up the host name of the peer of every open connection.
  report.excludeNetwork = true;
  const { glibcVersionRuntime } = report.getReport().header;
  report.excludeNetwork = excludeNetwork;
  return glibcVersionRuntime ?? '';
}

/** Returns 'gnu' or 'musl'; '' where a platform has one C library only. */
function libc() {
  if (process.platform !== 'linux') return '';
  let interpreter = '';
  try {
    interpreter = interpreterOf(process.execPath);
  } catch {
    // The executable may be unreadable, or gone since it was started.
  }
  if (/musl/.test(interpreter)) return 'musl';
  if (/ld-linux|ld64/.test(interpreter)) return 'gnu';
  return glibcVersion() === '' ? 'musl' : 'gnu';
}

module.exports = { glibcVersion, libc };
