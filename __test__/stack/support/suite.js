'use strict';

// What a whole `describe` starts and ends, where `t` of a single test would end it too early.

const { after } = require('node:test');

/** Has `after` as a test context has: what is given to it runs after the suite, last first. */
function suite() {
  const cleanups = [];
  after(async () => {
    for (const cleanup of cleanups) await cleanup();
  });
  return { after: (cleanup) => cleanups.unshift(cleanup) };
}

module.exports = { suite };
