'use strict';
// Errors that handlers and callbacks throw and nobody catches.

const { calls } = require('./binding');
const { Queue, turn, later } = require('./scheduling');

/**
 * Reports an uncaught error as if Node itself had called the handler. No code of the program may be on the
 * stack, since it could be a listener for the error.
 */
function report(error) {
  calls.fatal(error);
}

/** Uncaught errors of handlers that were called from within methods; they are still to be reported. */
const thrown = new Queue();

/**
 * Reports an error as soon as no code of the program is on the stack. The method may have been called by a
 * listener of `uncaughtException`, and a runtime that finds an uncaught error within such a listener aborts
 * the process. Where nobody listens, the process ends at once.
 */
function reportSoon(error) {
  if (!isHeard()) return void report(error);
  thrown.push(error);
  if (!turn.pumping) later(reportThrown);
}

/** Whether the process may survive an uncaught error. */
function isHeard() {
  return process.listenerCount('uncaughtException') > 0 || process.hasUncaughtExceptionCaptureCallback?.();
}

function reportThrown() {
  while (thrown.length > 0) report(thrown.shift());
}

/** Calls a handler from within a method. The caller of the method does not see the handler's error. */
function guarded(handler, a, b, c, d) {
  try {
    return handler(a, b, c, d);
  } catch (error) {
    reportSoon(error);
    return undefined;
  }
}

/**
 * Issues a warning. This throws where a program has put a function that does in the place of
 * `process.emitWarning`, as tests do that allow no warnings. So what has to go on is `guarded` from it.
 */
function issueWarning(text) {
  process.emitWarning(text, 'UwsRsWarning');
}

module.exports = { report, reportSoon, reportThrown, guarded, issueWarning };
