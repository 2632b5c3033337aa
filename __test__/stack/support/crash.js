'use strict';

// Required into a server (NODE_OPTIONS): an error ends the worker thread whose instance is named in the file
// CRASH_FILE.

const fs = require('node:fs');
const { isMainThread } = require('node:worker_threads');

const EVERY_MS = 50;
const STORES = Symbol.for('uws-rs-example.stores');

if (!isMainThread) {
  setInterval(() => {
    const wanted = fs.readFileSync(process.env.CRASH_FILE, { encoding: 'utf8', flag: 'a+' });
    const instance = globalThis[STORES]?.status().instance;
    if (wanted && wanted === instance) throw new Error(`${instance} dies as it is told to`);
  }, EVERY_MS).unref();
}
