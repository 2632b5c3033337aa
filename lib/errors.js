'use strict';
// Errors that nobody caught, of handlers and of callbacks.

const { calls } = require('./binding');
const { turn, later } = require('./scheduling');

/** An error nobody caught: as if the handler had been called by Node itself. Nothing of a user's may be running that could be a listener for it. */
function report(error) {
  calls.fatal(error);
}

/** Errors nobody caught of handlers that methods called. */
const thrown = [];

/**
 * Has an error reported as soon as nothing of a user's is running: it may be a listener of `uncaughtException` that called the
 * method, and a runtime that finds an error in one aborts the process. Where nothing listens the process ends at once.
 */
function reportSoon(error) {
  if (!isHeard()) return void report(error);
  thrown.push(error);
  if (!turn.pumping) later(reportThrown);
}

/** Whether errors that nobody caught may be survived. */
function isHeard() {
  return process.listenerCount('uncaughtException') > 0 || process.hasUncaughtExceptionCaptureCallback?.();
}

function reportThrown() {
  while (thrown.length > 0) report(thrown.shift());
}

/** Calls a user's handler from within a method call; what it throws is not the caller's. */
function guarded(handler, a, b, c, d) {
  try {
    return handler(a, b, c, d);
  } catch (error) {
    reportSoon(error);
    return undefined;
  }
}

module.exports = { report, reportSoon, reportThrown, guarded };
