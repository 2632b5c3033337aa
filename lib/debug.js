'use strict';
// Traces on standard error; loaded only where the environment variable UWS_DEBUG asks for them.

/** Begins the traces of the process. Later calls, as those of workers, only check the names. */
function startTraces(native, list) {
  const unknown = native.startTrace(list);
  if (unknown.length === 0) return;
  process.emitWarning(
    `UWS_DEBUG has names that are not known: ${unknown.join(', ')}. Known are ${native.traceNames()}.`,
    'UwsRsWarning',
  );
}

module.exports = { startTraces };
