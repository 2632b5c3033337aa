'use strict';

// The lifetime of a whole `describe`, for things that `t` of a single test would end too early.

const { after } = require('node:test');

/** Has `after` as a test context has: functions given to it run after the suite, the last one first. */
function suite() {
  const cleanups = [];
  after(async () => {
    for (const cleanup of cleanups) await cleanup();
  });
  return { after: (cleanup) => cleanups.unshift(cleanup) };
}

module.exports = { suite };
