'use strict';
// The functions that put off a call, as the runtime had them when this was loaded. Tests replace these functions, the globals as well as
// the properties of `timers` and `process` (Jest, sinon), and what is handed to a replacement may never be called.

const { setImmediate } = require('timers');

const nextTick = process.nextTick.bind(process);

module.exports = { setImmediate, nextTick };
